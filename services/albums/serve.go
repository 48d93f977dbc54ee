package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// The whole request must arrive, and the answer leave, within these: a stuck client holds no connection for ever.
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 10 * time.Second
	writeTimeout      = 10 * time.Second
	// Longer than edge keeps idle connections, so that edge, not albums, is the one to close them.
	idleTimeout = 2 * time.Minute
	// How long requests under way may take after the signal to stop.
	drainTimeout = 10 * time.Second
	// A caller's tracestate and baggage are passed on by edge, and have room in it.
	maxHeaderBytes = 64 << 10
	// Further connections wait in the kernel's queue until one is closed.
	maxConnections = 1024
)

// serve answers requests until ctx ends, then lets those under way finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler, logger *slog.Logger) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(limit(listener, maxConnections)) }()
	logger.Info("listening", "address", listener.Addr().String())

	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}

	logger.Info("draining")
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("requests still under way after %s: %w", drainTimeout, err), server.Close())
	}
	logger.Info("stopped")
	return nil
}
