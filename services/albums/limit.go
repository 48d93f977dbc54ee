package main

import (
	"net"
	"sync"
)

// limitListener bounds how many of its connections are open.
type limitListener struct {
	net.Listener
	places chan struct{}
}

func limit(listener net.Listener, connections int) net.Listener {
	return limitListener{listener, make(chan struct{}, connections)}
}

func (l limitListener) Accept() (net.Conn, error) {
	l.places <- struct{}{}
	free := sync.OnceFunc(func() { <-l.places })
	connection, err := l.Listener.Accept()
	if err != nil {
		free()
		return nil, err
	}
	return limitConn{connection, free}, nil
}

type limitConn struct {
	net.Conn
	free func()
}

func (c limitConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
