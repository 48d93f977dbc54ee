package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
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
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	all := settings{host: "0.0.0.0", port: uint16(number)}
	if err := healthcheck(all); err != nil {
		t.Error(err)
	}
	code = http.StatusServiceUnavailable
	if err := healthcheck(all); err == nil || !strings.Contains(err.Error(), "503") {
		t.Error(err)
	}
	server.Close()
	if err := healthcheck(all); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func TestReachable(t *testing.T) {
	for host, want := range map[string]string{
		"0.0.0.0": "127.0.0.1", "127.0.0.1": "127.0.0.1", "192.0.2.7": "192.0.2.7", "localhost": "localhost",
		"::": "::1", "::1": "::1", "2001:db8::7": "2001:db8::7",
	} {
		if got := reachable(host); got != want {
			t.Errorf("%s: got %s, want %s", host, got, want)
		}
	}
}
