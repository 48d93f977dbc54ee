package main

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// The names of every variable that albums reads.
const (
	envHost      = "LISTEN_HOST"
	envPort      = "ALBUMS_PORT"
	envFlagsFile = "FLAGS_FILE"
	envLogFile   = "LOG_FILE"
)

type settings struct {
	host string
	// port 0 lets the system choose; the log line "listening" tells which.
	port uint16
	// flagsFile is empty when there are no flags.
	flagsFile string
	// logFile gets every log line besides stdout; empty when stdout is enough.
	logFile string
}

func (s settings) address() string {
	return net.JoinHostPort(s.host, strconv.Itoa(int(s.port)))
}

// settingsFromEnv reads the settings; an empty variable counts as unset.
func settingsFromEnv(getenv func(string) string) (settings, error) {
	s := settings{host: "127.0.0.1", port: 8002, flagsFile: getenv(envFlagsFile), logFile: getenv(envLogFile)}
	if host := getenv(envHost); host != "" {
		// An address of IPv6 has brackets in a URL.
		if bare, ok := strings.CutPrefix(host, "["); ok {
			host = strings.TrimSuffix(bare, "]")
		}
		if _, err := net.LookupHost(host); err != nil {
			return settings{}, fmt.Errorf("%s=%q is no address of this machine: %w", envHost, host, err)
		}
		s.host = host
	}
	if port := getenv(envPort); port != "" {
		number, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return settings{}, fmt.Errorf("%s=%q is no port: a number from 0 to 65535 is expected", envPort, port)
		}
		s.port = uint16(number)
	}
	if s.flagsFile != "" {
		// A file that is not there yet is fine, a directory never becomes one.
		if info, err := os.Stat(s.flagsFile); err == nil && !info.Mode().IsRegular() {
			return settings{}, fmt.Errorf("%s=%q is not a regular file", envFlagsFile, s.flagsFile)
		}
	}
	return s, nil
}
