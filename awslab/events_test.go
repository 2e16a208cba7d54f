package awslab

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/google/go-cmp/cmp"
)

// subscribe makes a queue q that gets events in a form.
func subscribe(t *testing.T, lab *Lab, form EventForm) {
	t.Helper()
	newQueue(t, lab)
	if err := lab.Subscribe("q", form); err != nil {
		t.Fatal(err)
	}
}

// told is the events in a queue, as "detail-type: ", what they are about.
func told(t *testing.T, lab *Lab) (list []string) {
	t.Helper()
	for _, body := range lab.Messages("q") {
		var e struct {
			event
			DetailType string `json:"detail-type"`
			Detail     struct {
				Name, LabelUpdated, VersionID, Operation, Type, EventName string
				RequestParameters                                         struct{ SecretID string }
			} `json:"detail"`
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		d := e.Detail
		list = append(list, strings.Join(strings.Fields(fmt.Sprint(e.DetailType, ": ", d.Name, " ", d.LabelUpdated, d.Operation, d.EventName, " ", d.Type, d.RequestParameters.SecretID)), " "))
	}
	return list
}

func TestLabelMovesAndParametersAreToldOf(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	subscribe(t, lab, EventForm{})
	put := func(stages ...string) func() error {
		return func() error { _, err := lab.PutSecret("db", "x", stages...); return err }
	}
	move := func(label string) func() error {
		return func() error { return lab.MoveLabel("db", label, tokenA) }
	}
	parameter := func(value string) func() error {
		return func() error { _, err := lab.PutParameter("/a/b", value, TypeSecureString); return err }
	}
	steps := []struct {
		name string
		do   func() error
		want []string
	}{
		{"a new current version", put(), []string{"Secret Label Updated: db AWSCURRENT"}},
		{"a pending one", put("AWSPENDING"), nil},
		{"the current label moved", move("AWSCURRENT"), []string{"Secret Label Updated: db AWSCURRENT"}},
		{"the current label moved to where it is", move("AWSCURRENT"), nil},
		{"the previous label moved", move("AWSPREVIOUS"), nil},
		{"a label of one's own", move("blue"), []string{"Secret Label Updated: db blue"}},
		{"two labels at once", put("blue", "AWSCURRENT"), []string{"Secret Label Updated: db AWSCURRENT", "Secret Label Updated: db blue"}},
		{"a label taken off", func() error { return lab.MoveLabel("db", "blue", "") }, nil},
		{"a secret is created", func() error {
			_, err := client.CreateSecret(t.Context(), &secretsmanager.CreateSecretInput{Name: aws.String("new"), SecretString: aws.String("x")})
			return err
		}, []string{"Secret Label Updated: new AWSCURRENT"}},
		{"a secret is updated", func() error {
			_, err := client.UpdateSecret(t.Context(), &secretsmanager.UpdateSecretInput{SecretId: aws.String("new"), SecretString: aws.String("y")})
			return err
		}, []string{"Secret Label Updated: new AWSCURRENT"}},
		{"a secret is described otherwise", func() error {
			_, err := client.UpdateSecret(t.Context(), &secretsmanager.UpdateSecretInput{SecretId: aws.String("new"), Description: aws.String("y")})
			return err
		}, nil},
		{"a refused move", func() error {
			if lab.MoveLabel("db", "AWSCURRENT", tokenC) == nil {
				return fmt.Errorf("a move to no version went through")
			}
			return nil
		}, nil},
		{"a new parameter", parameter("1"), []string{"Parameter Store Change: /a/b Create SecureString"}},
		{"a parameter again", parameter("2"), []string{"Parameter Store Change: /a/b Update SecureString"}},
		{"a parameter's label", func() error { return lab.LabelParameter("/a/b", "x", 1) }, []string{"Parameter Store Change: /a/b LabelParameterVersion SecureString"}},
		{"a parameter deleted", func() error { lab.DeleteParameter("/a/b"); return nil }, []string{"Parameter Store Change: /a/b Delete SecureString"}},
	}
	seen := 0
	for _, step := range steps {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		all := told(t, lab)
		if diff := cmp.Diff(append([]string(nil), all[seen:]...), step.want); diff != "" {
			t.Errorf("%s (-got +want)\n%s", step.name, diff)
		}
		seen = len(all)
	}
}

func TestANativeEventHasTheDocumentedShape(t *testing.T) {
	at := &clock{time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)}
	lab := newLab(t, Options{Now: at.now})
	subscribe(t, lab, EventForm{})
	version, err := lab.PutSecret("prod/app/db", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lab.PutParameter("/foo/bar", "x", TypeStringList); err != nil {
		t.Fatal(err)
	}
	want := []string{
		fmt.Sprintf(`{"version":"0","id":"","detail-type":"Secret Label Updated","source":"aws.secretsmanager","account":"111122223333","time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":[%q],"detail":{"name":"prod/app/db","labelUpdated":"AWSCURRENT","versionId":%q}}`,
			lab.vault.secrets["prod/app/db"].arn, version),
		`{"version":"0","id":"","detail-type":"Parameter Store Change","source":"aws.ssm","account":"111122223333","time":"2026-01-02T03:04:05Z","region":"us-east-1","resources":["arn:aws:ssm:us-east-1:111122223333:parameter/foo/bar"],"detail":{"operation":"Create","name":"/foo/bar","type":"StringList"}}`,
	}
	for i, body := range lab.Messages("q") {
		var got, wanted map[string]any
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(want[i]), &wanted); err != nil {
			t.Fatal(err)
		}
		got["id"] = ""
		if diff := cmp.Diff(got, wanted); diff != "" {
			t.Errorf("(-got +want)\n%s", diff)
		}
	}
}

func TestATrailSpellsTheIDInEveryWay(t *testing.T) {
	lab := newLab(t, Options{})
	client := create(t, lab)
	subscribe(t, lab, EventForm{NoNative: true})
	arn := lab.vault.secrets["db"].arn
	for i := range 3 {
		_, err := client.PutSecretValue(t.Context(), &secretsmanager.PutSecretValueInput{SecretId: &arn, SecretString: aws.String(fmt.Sprint(i))})
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // two rotations
		before := lab.Labels("db")["AWSCURRENT"]
		id, err := lab.PutSecret("db", "x", "AWSPENDING")
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.UpdateSecretVersionStage(t.Context(), &secretsmanager.UpdateSecretVersionStageInput{
			SecretId: aws.String("db"), VersionStage: aws.String("AWSCURRENT"), MoveToVersionId: &id, RemoveFromVersionId: &before,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]int{}
	for _, body := range lab.Messages("q") {
		var e struct {
			DetailType string `json:"detail-type"`
			Detail     struct {
				EventName                                                                     string
				RequestParameters, ResponseElements, AdditionalEventData, ServiceEventDetails map[string]any
			}
		}
		if err := json.Unmarshal([]byte(body), &e); err != nil {
			t.Fatal(err)
		}
		d := e.Detail
		where := ""
		for prefix, members := range map[string]map[string]any{"answer ": d.ResponseElements, "additional ": d.AdditionalEventData, "service ": d.ServiceEventDetails} {
			for member, value := range members {
				if value == arn {
					where += prefix + member
				}
			}
		}
		got[d.EventName+" "+where]++
		if d.EventName == "PutSecretValue" && d.RequestParameters["clientRequestToken"] == nil {
			t.Error("PutSecretValue without its token")
		}
	}
	for _, want := range []string{
		"PutSecretValue answer arn", "PutSecretValue answer aRN", "PutSecretValue answer ARN",
		"RotationSucceeded additional SecretId", "RotationSucceeded service secretId",
	} {
		if got[want] == 0 {
			t.Errorf("no %s among %v", want, got)
		}
	}
}

func TestSNSWrapsAnEventAsText(t *testing.T) {
	lab := newLab(t, Options{})
	subscribe(t, lab, EventForm{SNS: true})
	if _, err := lab.PutSecret("db", "x"); err != nil {
		t.Fatal(err)
	}
	var envelope struct{ Type, Message string }
	if err := json.Unmarshal([]byte(lab.Messages("q")[0]), &envelope); err != nil {
		t.Fatal(err)
	}
	var inner struct {
		DetailType string `json:"detail-type"`
	}
	if err := json.Unmarshal([]byte(envelope.Message), &inner); err != nil || envelope.Type != "Notification" || inner.DetailType != "Secret Label Updated" {
		t.Errorf("got %s holding %q (%v), want a Notification of a label", envelope.Type, inner.DetailType, err)
	}
}

func TestAnEventCanBeLateAndIsThenReceivedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lab := newLab(t, Options{})
		url := newQueue(t, lab)
		if err := lab.Subscribe("q", EventForm{}); err != nil {
			t.Fatal(err)
		}
		lab.SetEventDelay(3 * time.Second)
		start := time.Now()
		time.AfterFunc(time.Second, func() {
			if _, err := lab.PutSecret("db", "x"); err != nil {
				t.Error(err)
			}
		})
		if got := receive(t, queues(lab, adminKeys(lab)), url); len(got) != 1 || time.Since(start) != 4*time.Second {
			t.Errorf("got %d events after %v, want one after 4s", len(got), time.Since(start))
		}
	})
}

func TestASubscriptionNeedsItsQueue(t *testing.T) {
	lab := newLab(t, Options{})
	if err := lab.Subscribe("q", EventForm{}); err == nil {
		t.Error("a queue that is not there was subscribed")
	}
	subscribe(t, lab, EventForm{})
	lab.DeleteQueue("q")
	if _, err := lab.PutSecret("db", "x"); err != nil {
		t.Errorf("a change after the queue was deleted: %v", err)
	}
}
