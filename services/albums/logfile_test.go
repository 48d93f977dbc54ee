package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLogFileIsPutAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "albums.log")
	read := func(name string) string {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	file, err := openLogFile(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"first\n", "a line longer than the limit\n", "third\n", "4th\n"} {
		if _, err := file.Write([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if text := read(path); text != "third\n4th\n" {
		t.Errorf("the file holds %q", text)
	}
	if text := read(path + ".1"); !strings.HasPrefix(text, "a line") {
		t.Errorf("the file before holds %q", text)
	}

	// A later process goes on where the first one stopped.
	again, err := openLogFile(path, 10)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Write([]byte("5\n")); err != nil {
		t.Fatal(err)
	}
	if text := read(path); text != "5\n" {
		t.Errorf("after a restart the file holds %q", text)
	}
}
