// Package esapi has the one call of Elasticsearch's API that Jaeger makes through this client.
package esapi

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Indices groups the calls about indices.
type Indices struct {
	PutIndexTemplate func(name string, body io.Reader) (*Response, error)
}

// Response is what Elasticsearch answered; its body has been read.
type Response struct {
	StatusCode int
	text       string
}

func (r *Response) String() string {
	return fmt.Sprintf("[%d %s] %s", r.StatusCode, http.StatusText(r.StatusCode), r.text)
}

// IndexTemplates says where and as whom index templates are stored.
type IndexTemplates struct {
	Client             *http.Client
	Address            *url.URL
	Username, Password string
	Header             http.Header
}

// maxAnswer bounds what is kept of an answer for an error message.
const maxAnswer = 64 << 10

// Put stores an index template.
func (t IndexTemplates) Put(name string, body io.Reader) (*Response, error) {
	request, err := http.NewRequest(http.MethodPut, t.Address.JoinPath("_index_template", url.PathEscape(name)).String(), body)
	if err != nil {
		return nil, err
	}
	for key, values := range t.Header {
		request.Header[key] = values
	}
	request.Header.Set("Content-Type", "application/json")
	if t.Username != "" {
		request.SetBasicAuth(t.Username, t.Password)
	}
	answer, err := t.Client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, err
	}
	return &Response{StatusCode: answer.StatusCode, text: string(text)}, nil
}
