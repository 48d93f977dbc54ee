package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
)

const flagAlbumsDown = "albums-down"

// flags reads flagd's JSON format from a file that may change at any time. A changed file is noticed by a stat per
// question. A file that cannot be used keeps the last good values and is reported once; a missing one means "all off".
type flags struct {
	path   string
	logger *slog.Logger

	mu       sync.Mutex
	seen     os.FileInfo // the version that was read last, nil when there was none
	down     bool
	reported string // the complaint that was logged last, so that it is not repeated
}

// newFlags needs no file to exist; an empty path means that every flag is off for ever.
func newFlags(path string, logger *slog.Logger) *flags {
	return &flags{path: path, logger: logger}
}

func (f *flags) albumsDown() bool {
	if f.path == "" {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refresh()
	return f.down
}

func (f *flags) refresh() {
	version, err := os.Stat(f.path)
	if err == nil && sameVersion(f.seen, version) {
		return
	}
	down := false
	if err == nil {
		down, err = readFlag(f.path, flagAlbumsDown)
	}
	switch {
	case err == nil:
		f.seen, f.down, f.reported = version, down, ""
	case errors.Is(err, fs.ErrNotExist):
		f.seen, f.down, f.reported = nil, false, ""
	default:
		f.seen = version
		if message := err.Error(); message != f.reported {
			f.reported = message
			f.logger.Warn("flags file not usable, keeping the last good values", "file", f.path, "error", message)
		}
	}
}

// sameVersion takes a replaced file for a new version even if it was written in the same tick of the clock.
func sameVersion(seen, now os.FileInfo) bool {
	return seen != nil && os.SameFile(seen, now) && seen.ModTime().Equal(now.ModTime()) && seen.Size() == now.Size()
}

// readFlag gives the value of a boolean flag; one that is absent or not ENABLED is off.
func readFlag(path, name string) (bool, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return false, err
	}
	var file struct {
		Flags map[string]struct {
			State          string                     `json:"state"`
			Variants       map[string]json.RawMessage `json:"variants"`
			DefaultVariant string                     `json:"defaultVariant"`
		} `json:"flags"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return false, err
	}
	if file.Flags == nil {
		return false, errors.New(`"flags" is missing`)
	}
	flag, ok := file.Flags[name]
	if !ok || flag.State != "ENABLED" {
		return false, nil
	}
	variant, ok := flag.Variants[flag.DefaultVariant]
	if !ok {
		return false, fmt.Errorf("flag %s: there is no variant %q", name, flag.DefaultVariant)
	}
	var value bool
	if err := json.Unmarshal(variant, &value); err != nil {
		return false, fmt.Errorf("flag %s: variant %q is no boolean", name, flag.DefaultVariant)
	}
	return value, nil
}
