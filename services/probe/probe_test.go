package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestAsk(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			http.Error(w, "still starting", http.StatusServiceUnavailable)
		}
	}))
	listening := strings.TrimPrefix(server.URL, "http://")
	for address, says := range map[string]string{
		server.URL + "/ready":  "",
		server.URL + "/other":  "still starting",
		"tcp://" + listening:   "",
		"https://127.0.0.1:1/": "no address to ask",
		"127.0.0.1":            "no address to ask",
	} {
		check(t, address, says)
	}
	server.Close()
	check(t, server.URL+"/ready", "refused")
	check(t, "tcp://"+listening, "refused")
}

func check(t *testing.T, address, says string) {
	t.Helper()
	err := ask(address)
	if (err == nil) != (says == "") || (err != nil && !strings.Contains(err.Error(), says)) {
		t.Errorf("%s: %v, expected %q", address, err, says)
	}
}

func TestPrepare(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"services.yml": "groups: []\n", "other.yml": "{}\n"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(from, "directory"), 0o700); err != nil {
		t.Fatal(err)
	}
	self := filepath.Join(to, "probe")
	// Only root can give things away.
	user := os.Getuid()
	if user == 0 {
		user = 12345
	}
	args := []string{"--self=" + self, "--copy=" + from + ":" + to, "--own=" + to + ":" + strconv.Itoa(user)}
	for range 2 {
		if err := runPrepare(args); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(filepath.Join(to, "services.yml"))
	if err != nil || string(text) != "groups: []\n" {
		t.Errorf("%q, %v", text, err)
	}
	for name, mode := range map[string]os.FileMode{"probe": 0o755, "other.yml": 0o644} {
		if info, err := os.Stat(filepath.Join(to, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	info, err := os.Stat(to)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != user {
		t.Errorf("the directory belongs to %d, not to %d", owner, user)
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 3 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestWhatIsThereStays(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for directory, files := range map[string][]string{from: {"flags", "other"}, to: {"flags"}} {
		for _, name := range files {
			if err := os.WriteFile(filepath.Join(directory, name), []byte(directory), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := runPrepare([]string{"--begin=" + from + ":" + to}); err != nil {
		t.Fatal(err)
	}
	for name, wanted := range map[string]string{"flags": to, "other": from} {
		if text, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(text) != wanted {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestPrepareRefuses(t *testing.T) {
	var p preparation
	for _, value := range []string{"", "/a", ":/b", "/a:"} {
		if p.addCopy(value, false) == nil {
			t.Errorf("--copy=%s", value)
		}
	}
	for _, value := range []string{"", "/a", "/a:root", "/a:-1", ":1"} {
		if p.addOwner(value) == nil {
			t.Errorf("--own=%s", value)
		}
	}
	absent := filepath.Join(t.TempDir(), "absent")
	if err := runPrepare([]string{"--copy=" + absent + ":/elsewhere"}); err == nil || !strings.Contains(err.Error(), absent) {
		t.Error(err)
	}
}
