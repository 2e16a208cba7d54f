package main

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"outrider/awslab"
)

// startLab starts AWS for a script and sets variables with its names. Its
// host certificate and key are in lab/.
//
//	lab
func startLab(ts *testscript.TestScript, _ bool, _ []string) {
	lab, err := awslab.New(awslab.Options{})
	ts.Check(err)
	setup, err := lab.Write(ts.MkAbs("lab"))
	ts.Check(err)
	server := httptest.NewServer(lab)
	ts.Defer(server.Close)
	ts.Setenv("ENDPOINT", server.URL)
	ts.Setenv("AWS_ENDPOINT_URL", server.URL)
	ts.Setenv("REGION", setup.Region)
	ts.Setenv("TRUST_ANCHOR", setup.TrustAnchor)
	ts.Setenv("PROFILE", setup.Profile)
	ts.Setenv("ROLE", setup.Role)
	ts.Setenv("ADMIN_KEY", setup.AccessKeyID)
	ts.Setenv("ADMIN_SECRET", setup.SecretAccessKey)
	setLab(ts, lab)
}

// expand replaces ${NAME} in a file by the script's variables.
//
//	expand FILE...
func expand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), func(key string) string {
			if value := ts.Getenv(key); value != "" {
				return value
			}
			return "$" + key
		})
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// put gives a secret a new current version.
//
//	put NAME VALUE
func put(ts *testscript.TestScript, _ bool, args []string) {
	_, err := labOf(ts).PutSecret(args[0], args[1])
	ts.Check(err)
}

// fault makes AWS go wrong until "fault none".
//
//	fault none | drop | throttle | fail [OPERATION]
func fault(ts *testscript.TestScript, _ bool, args []string) {
	if args[0] == "none" {
		labOf(ts).ClearFaults()
		return
	}
	f := awslab.Fault{Kind: awslab.FaultKind(args[0])}
	if len(args) > 1 {
		f.Operation = args[1]
	}
	ts.Check(labOf(ts).AddFault(f))
}

// deny takes an operation on a secret away from the role.
//
//	deny GetSecretValue NAME
func deny(ts *testscript.TestScript, _ bool, args []string) {
	labOf(ts).Deny(args[0], args[1])
}

// queue makes a queue that hears of changes, and sets QUEUE to its URL.
//
//	queue NAME
func queue(ts *testscript.TestScript, _ bool, args []string) {
	path, err := labOf(ts).CreateQueue(args[0])
	ts.Check(err)
	ts.Check(labOf(ts).Subscribe(args[0], awslab.EventForm{}))
	ts.Setenv("QUEUE", ts.Getenv("ENDPOINT")+path)
}

// issue writes a certificate and its key to the two files.
//
//	issue ok | expired | early | ca | rsa CERTIFICATE KEY
func issue(ts *testscript.TestScript, _ bool, args []string) {
	var options awslab.LeafOptions
	now := time.Now()
	switch args[0] {
	case "expired":
		options.NotBefore, options.NotAfter = now.Add(-48*time.Hour), now.Add(-24*time.Hour)
	case "early":
		options.NotBefore, options.NotAfter = now.Add(24*time.Hour), now.Add(48*time.Hour)
	case "ca":
		options.IsCA = true
	case "rsa":
		options.Key = awslab.RSA2048
	}
	certificate, key, _, err := labOf(ts).Issue(options)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), certificate, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), key, 0o600))
}

// mode checks a file's permission bits.
//
//	mode FILE 0600
func mode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[0]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
		ts.Fatalf("%s has mode %s, want %s", args[0], got, strings.Join(args[1:], ""))
	}
}

// exitcode runs a command that must end with the code.
//
//	exitcode 78 outrider check
func exitcode(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("%s ended with %d, want %s", strings.Join(args[1:], " "), code, args[0])
	}
}

// sendSignal sends a signal to the sidecar that holds the state.
//
//	signal HUP state/lock
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	pid, err := strconv.Atoi(strings.TrimSpace(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Check(unix.Kill(pid, unix.SignalNum("SIG"+args[0])))
}

// waitline waits until a file has a line with those words, for a minute at most.
//
//	waitline FILE WORDS
func waitline(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.After(time.Minute)
	for {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Contains(string(content), args[1]) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			ts.Fatalf("%s has no %q after a minute", args[0], args[1])
		}
	}
}

// waitfile waits until a file is there, and is as another if one is named, for
// a minute at most.
//
//	waitfile FILE [LIKE]
func waitfile(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.After(time.Minute)
	for {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && (len(args) < 2 || string(content) == ts.ReadFile(args[1])) {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-deadline:
			ts.Fatalf("%s is not as wanted after a minute", args[0])
		}
	}
}
