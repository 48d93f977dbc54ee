// Package serve runs an HTTP service until it is asked to stop.
package serve

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"

	"bench/internal/telemetry"
)

// Run serves handler on LISTEN_HOST and the port in variable; on SIGTERM it drains, then flushes.
func Run(name, variable string, handler func(context.Context) (http.Handler, error)) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	flush, err := telemetry.Start(ctx, name)
	if err != nil {
		return err
	}
	routes, err := handler(ctx)
	if err != nil {
		return err
	}
	server := &http.Server{
		Addr:              net.JoinHostPort(or("LISTEN_HOST", "127.0.0.1"), os.Getenv(variable)),
		Handler:           instrumented(routes),
		ReadHeaderTimeout: 10 * time.Second,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	quit, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(quit), flush(quit))
}

// instrumented makes a server span and measurements of every request but the checks, and one log line.
func instrumented(routes http.Handler) http.Handler {
	if telemetry.Disabled() {
		return routes
	}
	logged := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		recorder := &status{ResponseWriter: w, code: http.StatusOK}
		routes.ServeHTTP(recorder, r)
		if checks(r) {
			slog.InfoContext(r.Context(), "access", "method", r.Method, "route", r.Pattern, "status", recorder.code)
		}
	})
	return otelhttp.NewHandler(logged, "server", otelhttp.WithFilter(checks))
}

func checks(r *http.Request) bool { return r.URL.Path != "/readyz" }

type status struct {
	http.ResponseWriter
	code int
}

func (s *status) WriteHeader(code int) {
	s.code = code
	s.ResponseWriter.WriteHeader(code)
}

func or(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}
