package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHealthcheck(t *testing.T) {
	code := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			w.WriteHeader(code)
		}
	}))
	port := uint16(server.Listener.Addr().(*net.TCPAddr).Port)
	if err := healthcheck(port); err != nil {
		t.Error(err)
	}
	code = http.StatusServiceUnavailable
	if err := healthcheck(port); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
	server.Close()
	if err := healthcheck(port); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}
