package faulttest

import (
	"net/http"
	"strings"
	"time"
)

// operation is one that the sidecar calls, and how it is brought to call it
// while everything else goes well.
type operation struct {
	service string // as in roles.NAME.endpoints
	name    string
	secrets string   // of the app
	file    string   // its template
	rotates []string // what changes during the fault
	push    bool     // changes come by the queue; else they are polled
	queue   bool     // there is a queue
	late    bool     // the fault takes a while to be felt: what changes after that counts
	how     string   // the scene, for the page
}

// operations are the columns of the matrix.
func operations() []operation {
	return []operation{
		{
			service: "rolesanywhere", name: "CreateSession", secrets: "{a: {secret: a}}", file: "{{ .a }}", rotates: []string{"a"}, late: true,
			how: "Sessions are short, and the one in hand runs out. Then the secret, which is polled, changes.",
		},
		{
			service: "secretsmanager", name: "GetSecretValue", secrets: "{a: {secret: a}}", file: "{{ .a }}", rotates: []string{"a"}, push: true, queue: true,
			how: "An event says that the secret has changed, and it is read.",
		},
		{
			service: "secretsmanager", name: "BatchGetSecretValue", secrets: "{a: {secret: a}, b: {secret: b}}", file: "{{ .a }} {{ .b }}", rotates: []string{"a"}, push: true, queue: true,
			how: "An event says that one of an app's two secrets has changed; after it was read both are looked at together.",
		},
		{
			service: "secretsmanager", name: "DescribeSecret", secrets: "{a: {secret: a}}", file: "{{ .a }}", rotates: []string{"a"},
			how: "Without a queue, the secret's labels are polled.",
		},
		{
			service: "ssm", name: "GetParameters", secrets: "{a: {parameter: /a}}", file: "{{ .a }}", rotates: []string{"/a"}, push: true, queue: true,
			how: "An event says that the parameter has changed, and it is read.",
		},
		{
			service: "sqs", name: "ReceiveMessage", secrets: "{a: {secret: a}}", file: "{{ .a }}", rotates: []string{"a"}, queue: true, late: true,
			how: "The queue cannot be read. From the second failure in a row on, or the first message that does not come through whole, secrets are polled; then the secret changes.",
		},
	}
}

// all returns the secrets in the order in which they stand in the file.
func (o operation) all() []string {
	if o.name == "BatchGetSecretValue" {
		return []string{"a", "b"}
	}
	return o.rotates
}

// interval returns watch.interval: where changes are pushed, polls must not
// find them first.
func (o operation) interval(m mode) time.Duration {
	if o.push {
		return time.Hour
	}
	return m.interval
}

// nameOf returns the operation that a request asks for.
func nameOf(r *http.Request) string {
	if r.URL.Path == "/sessions" {
		return "CreateSession"
	}
	_, name, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return name
}
