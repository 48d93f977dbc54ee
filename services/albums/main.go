// albums is the lab's service without telemetry code: what it does is seen from outside, by its callers' spans,
// by its log lines, and in compose by eBPF.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
)

// exitUsage is the exit code for a setting that cannot be used, as opposed to 1 for a failure at run time.
const exitUsage = 2

func main() {
	os.Exit(run())
}

func run() int {
	settings, err := settingsFromEnv(os.Getenv)
	if err != nil {
		fmt.Fprintln(os.Stderr, "albums:", err)
		return exitUsage
	}
	if len(os.Args) > 1 && os.Args[1] == argHealthcheck {
		if err := healthcheck(settings); err != nil {
			fmt.Fprintln(os.Stderr, "albums:", err)
			return 1
		}
		return 0
	}
	var lines io.Writer = os.Stdout
	if settings.logFile != "" {
		file, err := openLogFile(settings.logFile, maxLogFile)
		if err != nil {
			fmt.Fprintf(os.Stderr, "albums: %s=%q cannot be written: %v\n", envLogFile, settings.logFile, err)
			return exitUsage
		}
		lines = both{stdout: os.Stdout, file: file}
	}
	logger := slog.New(slog.NewJSONHandler(lines, nil))

	listener, err := net.Listen("tcp", settings.address())
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			err = fmt.Errorf("%s is in use by another process: %s moves it", settings.address(), envPort)
		}
		fmt.Fprintln(os.Stderr, "albums:", err)
		return 1
	}

	// A second signal ends the process at once: stop() gives it back its default effect.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop)

	app := newApp(newFlags(settings.flagsFile, logger), logger)
	if err := serve(ctx, listener, app, logger); err != nil {
		logger.Error("stopped", "error", err.Error())
		return 1
	}
	return 0
}
