package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// argHealthcheck makes albums its own probe: its container image has no other program to ask it with.
const argHealthcheck = "healthcheck"

// healthcheck asks the albums that runs on the same port whether it is ready.
func healthcheck(port uint16) error {
	client := http.Client{Timeout: 3 * time.Second}
	url := "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))) + "/readyz"
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
