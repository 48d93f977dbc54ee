package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// maxLogFile is how large the log file grows: then it is renamed to <name>.1, over the one before.
const maxLogFile = 8 << 20

// logFile is where a collector reads the log lines when albums' stdout belongs to somebody else, as in a container.
type logFile struct {
	path  string
	limit int64

	mu   sync.Mutex
	file *os.File
	size int64
}

func openLogFile(path string, limit int64) (*logFile, error) {
	l := &logFile{path: path, limit: limit}
	return l, l.open()
}

func (l *logFile) open() error {
	// Others read it: a collector runs as another user.
	file, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	l.file, l.size = file, info.Size()
	return nil
}

// Write takes one whole line, as slog's handlers give it.
func (l *logFile) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > 0 && l.size+int64(len(line)) > l.limit {
		if err := l.turn(); err != nil {
			return 0, err
		}
	}
	n, err := l.file.Write(line)
	l.size += int64(n)
	return n, err
}

// turn begins a new file. Where that fails, the old one goes on to be written.
func (l *logFile) turn() error {
	old := l.file
	if err := os.Rename(l.path, l.path+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("log file %s cannot be put aside: %w", l.path, err)
	}
	if err := l.open(); err != nil {
		l.file = old
		return fmt.Errorf("log file %s cannot be begun anew: %w", l.path, err)
	}
	return old.Close()
}

// both writes to stdout and to the file. A file that cannot be written, on a full disk say, costs no line on stdout.
type both struct {
	stdout *os.File
	file   *logFile
}

func (b both) Write(line []byte) (int, error) {
	n, err := b.stdout.Write(line)
	_, fileErr := b.file.Write(line)
	return n, errors.Join(err, fileErr)
}
