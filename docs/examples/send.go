// Sends an e-mail once, and waits for what becomes of it: go run send.go ann@example.org
package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"
)

type object = map[string]any

// The answer as JSON. Without one, and after a 429 or 503, the call is sent again.
func call(method, path string, body object, headers ...string) object {
	data := []byte{}
	if body != nil {
		data, _ = json.Marshal(body)
	}
	for n := 0; n < 10; n++ {
		pause := 1
		request, err := http.NewRequest(method, os.Getenv("BABYGUN_API_URL")+path, bytes.NewReader(data))
		if err != nil {
			fail(err)
		}
		request.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			request.Header.Set(headers[i], headers[i+1])
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			var document object
			err = json.NewDecoder(answer.Body).Decode(&document)
			answer.Body.Close()
			if err == nil && answer.StatusCode < 300 {
				return document
			}
			if err == nil && answer.StatusCode != 429 && answer.StatusCode != 503 {
				fail(document["type"], ": ", document["detail"])
			}
			pause, _ = strconv.Atoi(answer.Header.Get("Retry-After"))
		} // else no answer: with the same key, sending again is safe
		time.Sleep(time.Duration(pause) * time.Second)
	}
	fail("there is no answer")
	return nil
}

func fail(said ...any) {
	fmt.Fprintln(os.Stderr, fmt.Sprint(said...))
	os.Exit(1)
}

func main() {
	client := object{"client_id": os.Getenv("BABYGUN_CLIENT_ID"), "client_secret": os.Getenv("BABYGUN_CLIENT_SECRET")}
	token := "Bearer " + call("POST", "/tokens", client)["token"].(string)

	email := object{"sender": "shop@example.com", "to": os.Args[1], "subject": "Hello", "body": "It works."}
	// Your own name for this e-mail, such as its order's number. It is sent once for each key.
	key := rand.Text()
	sent := call("POST", "/emails", email, "Authorization", token, "Idempotency-Key", key)

	path := fmt.Sprintf("/emails/%s?wait=30s", sent["id"])
	email = call("GET", path, nil, "Authorization", token)
	for email["status"] == "incomplete" {
		email = call("GET", path, nil, "Authorization", token)
	}
	for _, each := range email["recipients"].([]any) {
		recipient := each.(object)
		fmt.Println(recipient["email"], recipient["status"], recipient["status_reason"])
	}
}
