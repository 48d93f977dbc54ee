// Command edge asks users and passes status and JSON on.
package main

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"bench/internal/serve"
	"bench/internal/telemetry"
)

const longestAnswer = 4 << 20

func main() {
	if err := serve.Run("edge", "EDGE_PORT", routes); err != nil {
		log.Fatal(err)
	}
}

func routes(context.Context) (http.Handler, error) {
	users := upstream(os.Getenv("USERS_URL"))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /users", func(w http.ResponseWriter, r *http.Request) { users.pass(w, r, "") })
	mux.HandleFunc("GET /user/{name}", func(w http.ResponseWriter, r *http.Request) {
		users.pass(w, r, "?name="+url.QueryEscape(r.PathValue("name")))
	})
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	return mux, nil
}

type service struct {
	base   string
	client *http.Client
}

func upstream(base string) *service {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// The default of two would open a connection for nearly every request under load.
	transport.MaxIdleConnsPerHost = 1024
	client := &http.Client{Timeout: 30 * time.Second, Transport: transport}
	if !telemetry.Disabled() {
		client.Transport = otelhttp.NewTransport(transport)
	}
	return &service{base, client}
}

func (s *service) pass(w http.ResponseWriter, r *http.Request, query string) {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, s.base+"/users"+query, nil)
	if err != nil {
		http.Error(w, `{"title":"Bad Request"}`, http.StatusBadRequest)
		return
	}
	answer, err := s.client.Do(request)
	if err != nil {
		http.Error(w, `{"title":"Bad Gateway"}`, http.StatusBadGateway)
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, longestAnswer))
	if err != nil {
		http.Error(w, `{"title":"Bad Gateway"}`, http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
	w.WriteHeader(answer.StatusCode)
	_, _ = w.Write(body)
}
