package main

import (
	"net"
	"net/http"
	"testing"
	"time"
)

// More connections than allowed wait until one is closed.
func TestLimit(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := http.Server{Handler: http.NotFoundHandler()}
	defer server.Close()
	go func() { _ = server.Serve(limit(listener, 1)) }()
	connect := func() net.Conn {
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := connection.Write([]byte("GET / HTTP/1.1\r\nHost: albums\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		return connection
	}
	answered := func(connection net.Conn, within time.Duration) bool {
		if err := connection.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		_, err := connection.Read(make([]byte, 1))
		return err == nil
	}
	first := connect()
	if !answered(first, 10*time.Second) {
		t.Fatal("the first one is not answered")
	}
	second := connect()
	defer second.Close()
	if answered(second, 200*time.Millisecond) {
		t.Fatal("the second one is answered beside the first one")
	}
	first.Close()
	if !answered(second, 10*time.Second) {
		t.Error("the second one is not answered after the first one")
	}
}
