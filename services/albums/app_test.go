package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// logBuffer is a log that requests may write to at the same time.
type logBuffer struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines.Write(p)
}

// entries parses every line; one that is no JSON fails the test.
func (b *logBuffer) entries(t *testing.T) []map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	var entries []map[string]any
	for _, line := range strings.Split(strings.TrimSpace(b.lines.String()), "\n") {
		if line == "" {
			continue
		}
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		entries = append(entries, entry)
	}
	return entries
}

// start serves the app on a free port.
func start(t *testing.T, flagsFile string) (url string, log *logBuffer) {
	t.Helper()
	log = &logBuffer{}
	logger := slog.New(slog.NewJSONHandler(log, nil))
	server := httptest.NewServer(newApp(newFlags(flagsFile, logger), logger))
	t.Cleanup(server.Close)
	return server.URL, log
}

type answer struct {
	code        int
	contentType string
	header      http.Header
	body        []byte
}

func ask(t *testing.T, method, url string) answer {
	t.Helper()
	request, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header.Get("Content-Type"), response.Header, body}
}

func (a answer) problem(t *testing.T) problem {
	t.Helper()
	if a.contentType != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", a.contentType)
	}
	var p problem
	if err := json.Unmarshal(a.body, &p); err != nil {
		t.Fatalf("%s: %v", a.body, err)
	}
	if p.Status != a.code || p.Title != http.StatusText(a.code) || p.Type != "about:blank" || p.Detail == "" {
		t.Errorf("status %d with problem %+v", a.code, p)
	}
	return p
}

func TestAlbums(t *testing.T) {
	url, _ := start(t, "")
	got := ask(t, http.MethodGet, url+"/albums")
	if got.code != http.StatusOK || got.contentType != "application/json" {
		t.Fatalf("%d %q", got.code, got.contentType)
	}
	var albums []album
	if err := json.Unmarshal(got.body, &albums); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(albums, shelf) || len(albums) != 3 {
		t.Errorf("got %+v", albums)
	}
	var fields []map[string]any
	if err := json.Unmarshal(got.body, &fields); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"id", "title", "artist", "price"} {
		if _, ok := fields[0][name]; !ok {
			t.Errorf("no field %q in %v", name, fields[0])
		}
	}

	head := ask(t, http.MethodHead, url+"/albums")
	if head.code != http.StatusOK || len(head.body) != 0 {
		t.Errorf("HEAD: %d, %d bytes", head.code, len(head.body))
	}
}

func TestProbes(t *testing.T) {
	url, log := start(t, "")
	for path, want := range map[string]string{"/healthz": `{"status":"alive"}`, "/readyz": `{"status":"ready"}`} {
		got := ask(t, http.MethodGet, url+path)
		if got.code != http.StatusOK || strings.TrimSpace(string(got.body)) != want || got.contentType != "application/json" {
			t.Errorf("%s: %d %q %s", path, got.code, got.contentType, got.body)
		}
	}
	if entries := log.entries(t); len(entries) != 0 {
		t.Errorf("probes are logged: %v", entries)
	}
}

func TestUnknownPath(t *testing.T) {
	url, _ := start(t, "")
	for _, path := range []string{"/", "/album", "/albums/", "/albums/1", "/ALBUMS", "/%00%ff", "/" + strings.Repeat("x", 8000)} {
		got := ask(t, http.MethodGet, url+path)
		if got.code != http.StatusNotFound {
			t.Errorf("%.20s: %d", path, got.code)
		}
		if p := got.problem(t); p.Instance != path {
			t.Errorf("instance %.40q, want %.40q", p.Instance, path)
		}
	}
}

func TestWrongMethod(t *testing.T) {
	url, _ := start(t, "")
	for _, path := range []string{"/albums", "/healthz", "/readyz"} {
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, "BREW"} {
			got := ask(t, method, url+path)
			if got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "GET, HEAD" {
				t.Errorf("%s %s: %d, Allow %q", method, path, got.code, got.header.Get("Allow"))
			}
			got.problem(t)
		}
	}
}

func TestAccessLog(t *testing.T) {
	url, log := start(t, "")
	got := ask(t, http.MethodGet, url+"/albums?shelf=top")
	ask(t, http.MethodGet, url+"/a%22%0Ab")
	entries := log.entries(t)
	if len(entries) != 2 {
		t.Fatalf("%d lines: %v", len(entries), entries)
	}
	first := entries[0]
	for name, want := range map[string]any{
		"level": "INFO", "msg": "GET /albums 200", "method": "GET", "path": "/albums", "status": 200.0, "bytes": float64(len(got.body)),
	} {
		if first[name] != want {
			t.Errorf("%s is %v, want %v", name, first[name], want)
		}
	}
	if seconds, ok := first["duration"].(float64); !ok || seconds <= 0 || seconds > 60 {
		t.Errorf("duration %v", first["duration"])
	}
	if _, err := time.Parse(time.RFC3339Nano, first["time"].(string)); err != nil {
		t.Error(err)
	}
	if entries[1]["path"] != "/a\"\nb" || entries[1]["status"] != 404.0 {
		t.Errorf("%v", entries[1])
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	// As the lab writes it: a new file under the old name.
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func flagFile(state, variant string) string {
	return `{"flags": {"albums-down": {"state": "` + state + `", "variants": {"on": true, "off": false, "odd": 7}, "defaultVariant": "` + variant + `"}}}`
}

// TestFlag walks one running service through everything that can happen to its flag file.
func TestFlag(t *testing.T) {
	path := filepath.Join(t.TempDir(), "flags.json")
	url, log := start(t, path)
	warnings := func() (n int) {
		for _, entry := range log.entries(t) {
			if entry["level"] == "WARN" {
				n++
			}
		}
		return n
	}
	expect := func(when string, code, warned int) {
		t.Helper()
		for range 3 {
			if got := ask(t, http.MethodGet, url+"/albums"); got.code != code {
				t.Errorf("%s: %d, want %d", when, got.code, code)
			}
		}
		if n := warnings(); n != warned {
			t.Errorf("%s: %d warnings, want %d", when, n, warned)
		}
	}

	expect("no file", http.StatusOK, 0)
	write(t, path, flagFile("ENABLED", "on"))
	expect("on", http.StatusServiceUnavailable, 0)
	ask(t, http.MethodGet, url+"/albums").problem(t)
	if got := ask(t, http.MethodGet, url+"/readyz"); got.code != http.StatusOK {
		t.Errorf("readyz while down: %d", got.code)
	}

	write(t, path, `{"flags": {"albums-down": `)
	expect("malformed keeps on", http.StatusServiceUnavailable, 1)
	write(t, path, flagFile("ENABLED", "nowhere"))
	expect("unknown variant keeps on", http.StatusServiceUnavailable, 2)
	write(t, path, flagFile("ENABLED", "odd"))
	expect("variant of the wrong type keeps on", http.StatusServiceUnavailable, 3)
	write(t, path, `[]`)
	expect("wrong shape keeps on", http.StatusServiceUnavailable, 4)
	write(t, path, `{}`)
	expect("no flags keeps on", http.StatusServiceUnavailable, 5)

	write(t, path, flagFile("DISABLED", "on"))
	expect("disabled", http.StatusOK, 5)
	write(t, path, flagFile("ENABLED", "on"))
	expect("on again", http.StatusServiceUnavailable, 5)
	write(t, path, flagFile("ENABLED", "off"))
	expect("off", http.StatusOK, 5)
	write(t, path, `{"flags": {`)
	expect("malformed keeps off", http.StatusOK, 6)
	write(t, path, flagFile("ENABLED", "on"))
	expect("mended", http.StatusServiceUnavailable, 6)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	expect("removed", http.StatusOK, 6)
	write(t, path, `{"flags": {}}`)
	expect("flag absent", http.StatusOK, 6)
}

// The committed flags must be readable, and healthy by default.
func TestCommittedFlags(t *testing.T) {
	url, log := start(t, filepath.Join("..", "..", "infra", "flags", "lab.flagd.json"))
	if got := ask(t, http.MethodGet, url+"/albums"); got.code != http.StatusOK {
		t.Errorf("status %d", got.code)
	}
	if entries := log.entries(t); len(entries) != 1 {
		t.Errorf("expected the request's line only: %v", entries)
	}
}
