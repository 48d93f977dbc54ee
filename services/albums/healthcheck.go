package main

import (
	"fmt"
	"net/http"
	"time"
)

// argHealthcheck makes albums its own probe: its container image has no other program to ask it with.
const argHealthcheck = "healthcheck"

// healthcheck asks the albums that runs with the same settings whether it is ready.
func healthcheck(s settings) error {
	client := http.Client{Timeout: 3 * time.Second}
	url := "http://" + s.localAddress() + "/readyz"
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
