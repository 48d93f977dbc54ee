// albums is the lab's service without telemetry code: what it does is seen from outside, by its callers' spans,
// by its log lines, and in compose by eBPF.
package main

import (
	"context"
	"errors"
	"fmt"
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
	logger := slog.New(slog.NewJSONHandler(os.Stdout, nil))

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
