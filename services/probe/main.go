// probe is what the compose stack has in place of a shell. As a healthcheck it asks a program for its health, inside images that
// have no other program to ask with; once, before the others start, it prepares their volumes, itself among what it puts there.
package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

const usage = `usage:
  probe http://127.0.0.1:PORT/PATH     is there an answer that means yes (2xx)?
  probe tcp://127.0.0.1:PORT           does somebody listen?
  probe prepare [--self=FILE] [--copy=FROM:TO]... [--begin=FROM:TO]... [--own=DIRECTORY:USER]...
                                       copies itself, copies the files of directories, or those that are not there yet, and
                                       gives directories to users by number`

// patience is below the time that an engine waits for a healthcheck.
const patience = 3 * time.Second

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	var err error
	if os.Args[1] == "prepare" {
		err = runPrepare(os.Args[2:])
	} else {
		err = ask(os.Args[1])
	}
	if err != nil {
		// The engine keeps it: `docker inspect` shows it.
		fmt.Fprintln(os.Stderr, "probe:", err)
		os.Exit(1)
	}
}

// ask gives the reason why what listens at an address is not healthy.
func ask(address string) error {
	where, err := url.Parse(address)
	if err != nil {
		return err
	}
	switch where.Scheme {
	case "tcp":
		connection, err := net.DialTimeout("tcp", where.Host, patience)
		if err != nil {
			return err
		}
		return connection.Close()
	case "http":
		client := http.Client{Timeout: patience}
		response, err := client.Get(address)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode/100 == 2 {
			return nil
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return fmt.Errorf("%s: %s: %s", address, response.Status, strings.TrimSpace(string(body)))
	default:
		return fmt.Errorf("%q is no address to ask: http://HOST:PORT/PATH or tcp://HOST:PORT is expected", address)
	}
}

func runPrepare(args []string) error {
	var p preparation
	flags := flag.NewFlagSet("prepare", flag.ExitOnError)
	flags.Usage = func() { fmt.Fprintln(os.Stderr, usage) }
	flags.StringVar(&p.self, "self", "", "")
	flags.Func("copy", "", func(value string) error { return p.addCopy(value, false) })
	flags.Func("begin", "", func(value string) error { return p.addCopy(value, true) })
	flags.Func("own", "", p.addOwner)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is not expected\n%s", flags.Arg(0), usage)
	}
	return p.run()
}
