package elasticsearch

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPutIndexTemplate(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		if r.Method != http.MethodPut || r.URL.Path != "/base/_index_template/jaeger-span" || string(body) != "{}" ||
			user != "u" || password != "p" || r.Header.Get("X-Tenant") != "lab" || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "unexpected request")
		}
	}))
	defer server.Close()

	client, err := NewClient(Config{
		Addresses: []string{server.URL + "/base"}, Username: "u", Password: "p", Header: http.Header{"X-Tenant": {"lab"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Indices.PutIndexTemplate("jaeger-span", strings.NewReader("{}"))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", answer, err)
	}
	answer, err = client.Indices.PutIndexTemplate("other", strings.NewReader("{}"))
	if err != nil || answer.StatusCode != http.StatusBadRequest || !strings.Contains(answer.String(), "unexpected request") {
		t.Errorf("%v, %v", answer, err)
	}
	server.Close()
	if _, err = client.Indices.PutIndexTemplate("jaeger-span", strings.NewReader("{}")); err == nil {
		t.Error("no error without a server")
	}
}

func TestRefusals(t *testing.T) {
	for _, config := range []Config{
		{}, {Addresses: []string{"http://x"}, DiscoverNodesOnStart: true},
		{Addresses: []string{"http://%zz"}},
	} {
		if _, err := NewClient(config); err == nil {
			t.Errorf("%+v is taken", config)
		}
	}
}
