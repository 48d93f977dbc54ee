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
	here := settings{host: "0.0.0.0", port: uint16(server.Listener.Addr().(*net.TCPAddr).Port)}
	if err := healthcheck(here); err != nil {
		t.Error(err)
	}
	code = http.StatusServiceUnavailable
	if err := healthcheck(here); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
	server.Close()
	if err := healthcheck(here); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func TestLocalAddress(t *testing.T) {
	for host, expected := range map[string]string{
		"":            "127.0.0.1:8002",
		"0.0.0.0":     "127.0.0.1:8002",
		"127.0.0.2":   "127.0.0.2:8002",
		"::":          "[::1]:8002",
		"::1":         "[::1]:8002",
		"[::1]":       "[::1]:8002",
		"[::]":        "[::1]:8002",
		"2001:db8::7": "[2001:db8::7]:8002",
	} {
		s, err := settingsFromEnv(func(name string) string {
			if name == envHost {
				return host
			}
			return ""
		})
		if err != nil || s.localAddress() != expected {
			t.Errorf("%s=%q: %s, %v, expected %s", envHost, host, s.localAddress(), err, expected)
		}
	}
}
