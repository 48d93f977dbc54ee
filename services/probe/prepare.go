package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// preparation is done again at every start: each step may find its work done.
type preparation struct {
	// self is the file that this program is copied to.
	self   string
	copies []copying
	owners []owner
}

type copying struct {
	from, to string
	// once: what is there stays as it is.
	once bool
}

type owner struct {
	directory string
	user      int
}

func (p *preparation) addCopy(value string, once bool) error {
	from, to, ok := strings.Cut(value, ":")
	if !ok || from == "" || to == "" {
		return fmt.Errorf("FROM:TO is expected")
	}
	p.copies = append(p.copies, copying{from, to, once})
	return nil
}

func (p *preparation) addOwner(value string) error {
	directory, user, ok := strings.Cut(value, ":")
	number, err := strconv.Atoi(user)
	if !ok || directory == "" || err != nil || number < 0 {
		return fmt.Errorf("DIRECTORY:USER, the user by number, is expected")
	}
	p.owners = append(p.owners, owner{directory, number})
	return nil
}

func (p *preparation) run() error {
	// Without the capability to write everywhere, directories are ours first and given away at the end.
	for _, give := range p.owners {
		if err := os.Chown(give.directory, os.Getuid(), os.Getgid()); err != nil {
			return err
		}
	}
	if p.self != "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		if err := place(self, p.self, 0o755); err != nil {
			return err
		}
	}
	for _, each := range p.copies {
		entries, err := os.ReadDir(each.from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() {
				continue
			}
			from, to := filepath.Join(each.from, entry.Name()), filepath.Join(each.to, entry.Name())
			if _, err := os.Lstat(to); each.once && err == nil {
				continue
			}
			if err := place(from, to, 0o644); err != nil {
				return err
			}
		}
	}
	for _, give := range p.owners {
		if err := os.Chown(give.directory, give.user, give.user); err != nil {
			return err
		}
	}
	return nil
}

// place copies a file beside its target and renames it: the old one may be running, or be read this moment.
func place(from, to string, mode os.FileMode) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	beside := filepath.Join(filepath.Dir(to), "."+filepath.Base(to)+".new")
	if err := os.WriteFile(beside, content, mode); err != nil {
		return err
	}
	// What was there before keeps its mode, and a umask takes from a new one.
	if err := os.Chmod(beside, mode); err != nil {
		return err
	}
	return os.Rename(beside, to)
}
