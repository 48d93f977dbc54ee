// Package elasticsearch stands in for Elasticsearch's own client when Jaeger is built for the lab. Jaeger makes one call
// with that client, to store an index template; its generated API has 847 packages, a third of the work of building
// Jaeger. The lab keeps traces in memory and never gets here; what is here works all the same.
package elasticsearch

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/elastic/go-elasticsearch/v9/esapi"
)

// Config has the settings that Jaeger makes.
type Config struct {
	Addresses            []string
	Username, Password   string
	Header               http.Header
	DiscoverNodesOnStart bool
	// CompressRequestBody is without effect: a template is small.
	CompressRequestBody bool
	Transport           http.RoundTripper
}

// Client asks the first of the addresses.
type Client struct {
	Indices *esapi.Indices
}

// NewClient refuses what it would otherwise ignore.
func NewClient(config Config) (*Client, error) {
	if config.DiscoverNodesOnStart {
		return nil, errors.New("elasticsearch: this build does not discover nodes (sniffing)")
	}
	if len(config.Addresses) == 0 {
		return nil, errors.New("elasticsearch: no address")
	}
	address, err := url.Parse(config.Addresses[0])
	if err != nil {
		return nil, err
	}
	transport := config.Transport
	if transport == nil {
		transport = http.DefaultTransport
	}
	return &Client{Indices: &esapi.Indices{PutIndexTemplate: esapi.IndexTemplates{
		Client:   &http.Client{Transport: transport},
		Address:  address,
		Username: config.Username,
		Password: config.Password,
		Header:   config.Header,
	}.Put}}, nil
}
