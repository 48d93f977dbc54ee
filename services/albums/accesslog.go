package main

import (
	"log/slog"
	"net/http"
	"strconv"
	"time"
)

// accessLog writes one line per request, except for the probes of those who only ask whether albums lives.
func accessLog(logger *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
			next.ServeHTTP(w, r)
			return
		}
		start := time.Now()
		counted := &countingWriter{ResponseWriter: w, status: http.StatusOK}
		next.ServeHTTP(counted, r)
		level := slog.LevelInfo
		if counted.status >= http.StatusInternalServerError {
			level = slog.LevelError
		}
		// The message reads by itself; the attributes are for queries.
		message := r.Method + " " + r.URL.Path + " " + strconv.Itoa(counted.status)
		logger.LogAttrs(r.Context(), level, message,
			slog.String("method", r.Method),
			slog.String("path", r.URL.Path),
			slog.Int("status", counted.status),
			slog.Float64("duration", time.Since(start).Seconds()),
			slog.Int64("bytes", counted.bytes),
		)
	})
}

// countingWriter remembers what the handler answered.
type countingWriter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (w *countingWriter) WriteHeader(code int) {
	w.status = code
	w.ResponseWriter.WriteHeader(code)
}

func (w *countingWriter) Write(body []byte) (int, error) {
	n, err := w.ResponseWriter.Write(body)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the real writer.
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
