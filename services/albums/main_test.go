package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const envRunMain = "ALBUMS_TEST_RUN_MAIN"

// TestMain lets the test binary stand in for the program.
func TestMain(m *testing.M) {
	if os.Getenv(envRunMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func program(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	command := exec.CommandContext(ctx, os.Args[0])
	command.Env = append([]string{envRunMain + "=1"}, env...)
	return command
}

func TestBadSettings(t *testing.T) {
	for _, test := range []struct{ env, says string }{
		{"ALBUMS_PORT=eight", `ALBUMS_PORT="eight"`},
		{"ALBUMS_PORT=65536", "ALBUMS_PORT"},
		{"ALBUMS_PORT=-1", "ALBUMS_PORT"},
		{"LISTEN_HOST=not a host", "LISTEN_HOST"},
		{"FLAGS_FILE=" + t.TempDir(), "FLAGS_FILE"},
		{"LOG_FILE=" + t.TempDir(), "LOG_FILE"},
	} {
		var stderr, stdout bytes.Buffer
		command := program(t, test.env)
		command.Stderr, command.Stdout = &stderr, &stdout
		err := command.Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != exitUsage {
			t.Errorf("%s: %v", test.env, err)
		}
		if !strings.Contains(stderr.String(), test.says) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: stderr %q", test.env, stderr.String())
		}
		if stdout.Len() != 0 {
			t.Errorf("%s: stdout %q", test.env, stdout.String())
		}
	}
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)
	output, err := program(t, "ALBUMS_PORT="+port).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(output), "ALBUMS_PORT moves it") {
		t.Errorf("%v: %s", err, output)
	}
}

func TestDefaults(t *testing.T) {
	got, err := settingsFromEnv(func(string) string { return "" })
	if err != nil || got.address() != "127.0.0.1:8002" || got.flagsFile != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestHost(t *testing.T) {
	for _, host := range []string{"::1", "[::1]"} {
		got, err := settingsFromEnv(func(name string) string { return map[string]string{envHost: host}[name] })
		if err != nil || got.address() != "[::1]:8002" {
			t.Errorf("%s: %+v, %v", host, got, err)
		}
	}
}

// serving runs serve on a free port, until stop or the test's end; served gets what it returns.
func serving(t *testing.T, handler http.Handler) (listener net.Listener, stop func(), served chan error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	served = make(chan error, 1)
	go func() { served <- serve(ctx, listener, handler, slog.New(slog.DiscardHandler)) }()
	return listener, stop, served
}

// What edge passes on of a caller has room.
func TestLargeHeader(t *testing.T) {
	listener, stop, served := serving(t, http.NotFoundHandler())
	for length, want := range map[int]int{32 << 10: http.StatusNotFound, 128 << 10: http.StatusRequestHeaderFieldsTooLarge} {
		request, err := http.NewRequest(http.MethodGet, "http://"+listener.Addr().String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("tracestate", strings.Repeat("x", length))
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%d bytes: status %d, want %d", length, response.StatusCode, want)
		}
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// The real process: starts, answers, and ends with 0 on each of the two signals.
func TestProcess(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		command := program(t, "ALBUMS_PORT=0", "LISTEN_HOST=127.0.0.1")
		stdout, err := command.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := command.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(stdout)
		var line struct{ Msg, Address string }
		if !lines.Scan() {
			t.Fatal("no line")
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil || line.Msg != "listening" {
			t.Fatalf("%s: %v", lines.Text(), err)
		}
		if got := ask(t, http.MethodGet, "http://"+line.Address+"/albums"); got.code != http.StatusOK {
			t.Errorf("status %d", got.code)
		}
		if err := command.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			line.Msg = ""
			if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
				t.Errorf("%s: %v", lines.Text(), err)
			}
		}
		if err := command.Wait(); err != nil || line.Msg != "stopped" {
			t.Errorf("%v: %v, last line %q", signal, err, line.Msg)
		}
	}
}

// A request under way when the signal comes is answered; a new one is not taken.
func TestDrain(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "finished")
	})
	listener, stop, served := serving(t, handler)

	type result struct {
		body []byte
		err  error
	}
	answered := make(chan result, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- result{err: err}
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		answered <- result{body, err}
	}()
	<-arrived
	stop()
	for deadline := time.Now().Add(10 * time.Second); ; {
		connection, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			break
		}
		connection.Close()
		if time.Now().After(deadline) {
			t.Fatal("still accepting connections after the signal")
		}
	}
	select {
	case err := <-served:
		t.Fatalf("ended before its request: %v", err)
	default:
	}
	close(release)
	if got := <-answered; got.err != nil || string(got.body) != "finished" {
		t.Errorf("%q, %v", got.body, got.err)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// A client that never finishes its request is cut off.
func TestSlowClient(t *testing.T) {
	listener, stop, served := serving(t, http.NotFoundHandler())
	connection, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := io.WriteString(connection, "GET /albums HTTP/1.1\r\nHost: albums\r\nX-Slow:"); err != nil {
		t.Fatal(err)
	}
	if err := connection.SetReadDeadline(time.Now().Add(readHeaderTimeout + 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(connection); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection is still open")
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
