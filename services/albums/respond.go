package main

import (
	"encoding/json"
	"net/http"
)

// problem is an error body as RFC 9457 describes it.
type problem struct {
	Type     string `json:"type"`
	Title    string `json:"title"`
	Status   int    `json:"status"`
	Detail   string `json:"detail"`
	Instance string `json:"instance"`
}

func writeProblem(w http.ResponseWriter, r *http.Request, code int, detail string) {
	writeJSON(w, code, "application/problem+json", problem{
		Type:     "about:blank",
		Title:    http.StatusText(code),
		Status:   code,
		Detail:   detail,
		Instance: r.URL.EscapedPath(),
	})
}

func writeJSON(w http.ResponseWriter, code int, contentType string, body any) {
	encoded, err := json.Marshal(body)
	if err != nil {
		// Every body is a plain struct of ours: only a programming error gets here.
		panic(err)
	}
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(code)
	// A client that went away is its own business; the access log shows what was sent.
	_, _ = w.Write(append(encoded, '\n'))
}
