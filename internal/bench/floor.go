package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"outrider/signer"
)

// job is what the floor does: the session, calls, writes, syncs and renames
// of one cold start, one after another, and nothing else.
type job struct {
	Setup  setup
	Rounds int      // how often every secret is read
	IDs    []string // of the secrets
	Files  []string // the destination of each
}

// runFloor does the job and tells the same socket as the sidecar would.
func runFloor(ctx context.Context, path, socket string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var j job
	if err := json.Unmarshal(text, &j); err != nil {
		return err
	}
	aws, err := j.open(ctx)
	if err != nil {
		return err
	}
	values := map[string]string{}
	for range j.Rounds {
		for ids := range slices.Chunk(j.IDs, batch) {
			if err := j.read(ctx, aws, ids, values); err != nil {
				return err
			}
		}
	}
	folders := map[string]bool{}
	for i, id := range j.IDs {
		var value value
		if err := json.Unmarshal([]byte(values[id]), &value); err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
		if err := replace(j.Files[i], value.file()); err != nil {
			return err
		}
		folders[filepath.Dir(j.Files[i])] = true
	}
	for folder := range folders {
		if err := syncFolder(folder); err != nil {
			return err
		}
	}
	return tell(socket, "READY=1")
}

// open makes the session.
func (j *job) open(ctx context.Context) (*caller, error) {
	s := j.Setup
	// Not package source: the devices that it knows are no part of the floor.
	certificate, err := os.ReadFile(s.Certificate)
	key, keyErr := os.ReadFile(s.PrivateKey)
	if err = errors.Join(err, keyErr); err != nil {
		return nil, err
	}
	id, err := signer.Parse(certificate, nil, key)
	if err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, `{"profileArn":%q,"roleArn":%q,"trustAnchorArn":%q}`, s.Profile, s.Role, s.TrustAnchor)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint+"/sessions", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	if err := id.Sign(r, digest(body), s.Region, time.Now()); err != nil {
		return nil, err
	}
	var out struct {
		CredentialSet []struct {
			Credentials struct{ AccessKeyID, SecretAccessKey, SessionToken string }
		}
	}
	client := &http.Client{}
	if err := send(client, r, http.StatusCreated, &out); err != nil {
		return nil, err
	}
	c := out.CredentialSet[0].Credentials
	return &caller{
		Endpoint: s.Endpoint, Region: s.Region, client: client,
		AccessKeyID: c.AccessKeyID, SecretKey: c.SecretAccessKey, SessionToken: c.SessionToken,
	}, nil
}

// read reads some of the secrets in one call.
func (j *job) read(ctx context.Context, aws *caller, ids []string, values map[string]string) error {
	if len(ids) == 1 {
		var out struct{ SecretString string }
		err := aws.call(ctx, "GetSecretValue", map[string]string{"SecretId": ids[0]}, &out)
		values[ids[0]] = out.SecretString
		return err
	}
	var out struct {
		SecretValues []struct{ Name, SecretString string }
	}
	err := aws.call(ctx, "BatchGetSecretValue", map[string][]string{"SecretIdList": ids}, &out)
	for _, v := range out.SecretValues {
		values[v.Name] = v.SecretString
	}
	return err
}

// replace writes a file beside its destination, syncs it and renames it.
func replace(path, text string) error {
	staged := filepath.Join(filepath.Dir(path), ".floor")
	f, err := os.OpenFile(staged, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(staged, path)
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// tell sends a state to a service manager.
func tell(socket, state string) error {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}
