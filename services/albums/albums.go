package main

import "net/http"

type album struct {
	ID     string  `json:"id"`
	Title  string  `json:"title"`
	Artist string  `json:"artist"`
	Price  float64 `json:"price"`
}

var shelf = []album{
	{ID: "1", Title: "Sequential Scan Blues", Artist: "The Missing Indexes", Price: 14.5},
	{ID: "2", Title: "Ninety-Ninth Percentile", Artist: "Tail Latency Quartet", Price: 21.9},
	{ID: "3", Title: "Root Span", Artist: "Orphans of the Trace", Price: 17.25},
}

// albumsHandler answers the shelf, or 503 while the flag albums-down is on.
func albumsHandler(flags *flags) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if flags.albumsDown() {
			writeProblem(w, r, http.StatusServiceUnavailable, "the albums are out of stock (flag "+flagAlbumsDown+" is on)")
			return
		}
		writeJSON(w, http.StatusOK, "application/json", shelf)
	})
}
