package main

import (
	"log/slog"
	"net/http"
	"strings"
)

// newApp puts the routes together; the access log is outermost, so that it sees every answer.
func newApp(flags *flags, logger *slog.Logger) http.Handler {
	routes := http.NewServeMux()
	routes.Handle("/albums", onlyGet(albumsHandler(flags)))
	routes.Handle("/healthz", onlyGet(status("alive")))
	// Nothing is waited for at start, and the flag albums-down is a fault of /albums, not of the process.
	routes.Handle("/readyz", onlyGet(status("ready")))
	routes.HandleFunc("/", notFound)
	return accessLog(logger, routes)
}

// onlyGet answers 405 to every method but GET and HEAD.
func onlyGet(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			allowed := []string{http.MethodGet, http.MethodHead}
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			writeProblem(w, r, http.StatusMethodNotAllowed, "this address answers "+strings.Join(allowed, " and ")+" only")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func status(word string) http.Handler {
	body := struct {
		Status string `json:"status"`
	}{word}
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, "application/json", body)
	})
}

func notFound(w http.ResponseWriter, r *http.Request) {
	writeProblem(w, r, http.StatusNotFound, "there is nothing at this address; try /albums")
}
