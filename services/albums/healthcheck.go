package main

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// argHealthcheck makes albums its own probe: its container image has no other program to ask it with.
const argHealthcheck = "healthcheck"

// healthcheck asks the albums that runs on the same host and port whether it is ready.
func healthcheck(s settings) error {
	client := http.Client{Timeout: 3 * time.Second}
	s.host = reachable(s.host)
	url := "http://" + s.address() + "/readyz"
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	return nil
}

// reachable gives the loopback address of the same family where albums listens on all addresses.
func reachable(host string) string {
	switch address, err := netip.ParseAddr(host); {
	case err != nil || !address.IsUnspecified():
		return host
	case address.Is4():
		return "127.0.0.1"
	default:
		return "::1"
	}
}
