package events

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"outrider/store"
)

const arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:prod/db-a1b2c3"

// native is a "Secret Label Updated" with one text replaced by another.
func native(old, other string) string {
	return strings.Replace(`{"version":"0","id":"7bf73129-1428-4cd3-a780-95db273d1602","detail-type":"Secret Label Updated",
		"source":"aws.secretsmanager","account":"111122223333","time":"2026-01-02T03:04:05Z","region":"eu-west-1",
		"resources":["`+arn+`"],"detail":{"name":"prod/db","labelUpdated":"AWSCURRENT","versionId":"v2"}}`, old, other, 1)
}

// trail is an event that CloudTrail makes, with these members in its detail.
func trail(kind, name, members string) string {
	return fmt.Sprintf(`{"detail-type":"AWS %s via CloudTrail","source":"aws.secretsmanager","account":"111122223333",
		"time":"2026-01-02T03:04:05Z","region":"eu-west-1","resources":[],"detail":{"eventSource":"secretsmanager.amazonaws.com",
		"eventName":%q,%s}}`, kind, name, members)
}

func parameter(operation string) string {
	return `{"detail-type":"Parameter Store Change","source":"aws.ssm","account":"111122223333","time":"2026-01-02T03:04:05Z",
		"region":"eu-west-1","resources":["arn:aws:ssm:eu-west-1:111122223333:parameter/foo/bar"],
		"detail":{"operation":"` + operation + `","name":"/foo/bar","type":"SecureString"}}`
}

func wrapped(body string) string {
	text, _ := json.Marshal(body)
	return `{"Type":"Notification","TopicArn":"arn:aws:sns:eu-west-1:111122223333:t","Message":` + string(text) + `}`
}

func TestParseReadsWhatHasChanged(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	here := func(h store.Hint) Event {
		return Event{Hint: h, Account: "111122223333", Region: "eu-west-1", Time: at}
	}
	current := here(store.Hint{ID: arn, Stage: "AWSCURRENT", Version: "v2"})
	byName := here(store.Hint{ID: "prod/db", Stage: "AWSCURRENT", Version: "v2"})
	for name, tc := range map[string]struct {
		body string
		want Event
	}{
		"the native event":            {native("", ""), current},
		"and through SNS":             {wrapped(native("", "")), current},
		"and without a resource":      {native(`"`+arn+`"`, ""), byName},
		"and of a label of our own":   {native("AWSCURRENT", "BLUE"), here(store.Hint{ID: arn, Stage: "BLUE", Version: "v2"})},
		"a version without a label":   {native(`"labelUpdated":"AWSCURRENT",`, ""), here(store.Hint{ID: arn})},
		"a time that is none":         {native("2026-01-02T03:04:05Z", "yesterday"), Event{Hint: current.Hint, Account: current.Account, Region: current.Region}},
		"a value put by its name":     {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"prod/db","clientRequestToken":"v2"},"responseElements":null`), byName},
		"and with the answer's arn":   {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"prod/db","clientRequestToken":"v2"},"responseElements":{"arn":"`+arn+`"}`), current},
		"and spelt aRN":               {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"prod/db","clientRequestToken":"v2"},"responseElements":{"aRN":"`+arn+`"}`), current},
		"and spelt ARN":               {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"prod/db","clientRequestToken":"v2"},"responseElements":{"ARN":"`+arn+`"}`), current},
		"a value put by its ARN":      {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"`+arn+`","clientRequestToken":"v2","versionStages":["AWSCURRENT"]}`), current},
		"put under several labels":    {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"`+arn+`","clientRequestToken":"v2","versionStages":["AWSCURRENT","BLUE"]}`), here(store.Hint{ID: arn})},
		"a label moved":               {trail("API Call", "UpdateSecretVersionStage", `"requestParameters":{"secretId":"prod/db","versionStage":"AWSCURRENT","moveToVersionId":"v2","removeFromVersionId":"v1"}`), byName},
		"an update with a value":      {trail("API Call", "UpdateSecret", `"requestParameters":{"secretId":"prod/db","clientRequestToken":"v2"},"responseElements":{"arn":"`+arn+`","versionId":"v2"}`), current},
		"an update without one":       {trail("API Call", "UpdateSecret", `"requestParameters":{"secretId":"prod/db","clientRequestToken":"v2"},"responseElements":{"arn":"`+arn+`"}`), here(store.Hint{ID: arn, Stage: "AWSCURRENT"})},
		"a new secret":                {trail("API Call", "CreateSecret", `"requestParameters":{"name":"prod/db"},"responseElements":{"versionId":"v2"}`), byName},
		"a deletion":                  {trail("API Call", "DeleteSecret", `"requestParameters":{"secretId":"prod/db"}`), here(store.Hint{ID: "prod/db"})},
		"a rotation, as of 2021":      {trail("Service Event", "RotationSucceeded", `"requestParameters":null,"additionalEventData":{"SecretId":"`+arn+`"}`), here(store.Hint{ID: arn, Stage: "AWSCURRENT"})},
		"a rotation, spelt otherwise": {trail("Service Event", "RotationSucceeded", `"requestParameters":null,"serviceEventDetails":{"secretId":"`+arn+`"}`), here(store.Hint{ID: arn, Stage: "AWSCURRENT"})},
		"the secret of another account": {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"arn:aws:secretsmanager:eu-west-1:444455556666:secret:x-a1b2c3"}`),
			Event{Hint: store.Hint{ID: "arn:aws:secretsmanager:eu-west-1:444455556666:secret:x-a1b2c3", Stage: "AWSCURRENT"}, Account: "444455556666", Region: "eu-west-1", Time: at}},
		"a parameter changed":                            {parameter("Update"), here(store.Hint{ID: "/foo/bar", Parameter: true, At: at})},
		"a parameter's label, whose move leaves no date": {parameter("LabelParameterVersion"), here(store.Hint{ID: "/foo/bar", Parameter: true})},
		"a parameter deleted":                            {wrapped(parameter("Delete")), here(store.Hint{ID: "/foo/bar", Parameter: true})},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(got, tc.want); diff != "" {
				t.Errorf("got -, want +:\n%s", diff)
			}
		})
	}
}

func TestParseSaysWhyAMessageIsNoReasonToRead(t *testing.T) {
	for name, tc := range map[string]struct{ body, want string }{
		"nothing":                     {"", "not an event's JSON"},
		"text":                        {"hello", "not an event's JSON"},
		"a list":                      {"[]", "not an event's JSON"},
		"half an event":               {native("", "")[:90], "not an event's JSON"},
		"another's event":             {native("aws.secretsmanager", "aws.ec2"), `source "aws.ec2", detail-type "Secret Label Updated": says nothing of a value`},
		"one that claims to be AWS's": {native("aws.secretsmanager", "my.secretsmanager"), `source "my.secretsmanager", detail-type "Secret Label Updated": says nothing of a value`},
		"a parameter's policy":        {strings.Replace(parameter("x"), "Store Change", "Store Policy Action", 1), `source "aws.ssm", detail-type "Parameter Store Policy Action": says nothing of a value`},
		"a detail of another form":    {native(`"prod/db"`, "7"), "Secret Label Updated: detail: not an event's JSON"},
		"a resource elsewhere":        {native(`:eu-west-1:`, ":eu-west-3:"), "Secret Label Updated: its resource is not of the account and region that it comes from"},
		"a resource of another":       {native(`:111122223333:`, ":444455556666:"), "Secret Label Updated: its resource is not of the account and region that it comes from"},
		"no name":                     {trail("API Call", "DeleteSecret", `"requestParameters":{}`), "AWS API Call via CloudTrail: names nothing"},
		"more than a name":            {trail("API Call", "DeleteSecret", `"requestParameters":{"secretId":"`+strings.Repeat("x", 2049)+`"}`), "AWS API Call via CloudTrail: names nothing"},
		"a pending value":             {trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"x","versionStages":["AWSPENDING"]}`), "PutSecretValue: AWSPENDING moves before a rotation is through, and with it"},
		"a previous value":            {trail("API Call", "UpdateSecretVersionStage", `"requestParameters":{"secretId":"x","versionStage":"AWSPREVIOUS"}`), "UpdateSecretVersionStage: AWSPREVIOUS moves before a rotation is through, and with it"},
		"a call that was refused":     {trail("API Call", "PutSecretValue", `"errorCode":"AccessDenied","requestParameters":{"secretId":"x"}`), `"PutSecretValue": the call was refused`},
		"a rotation's start":          {trail("Service Event", "RotationStarted", `"additionalEventData":{"SecretId":"x"}`), `"RotationStarted": changes no value`},
		"SNS around nothing":          {wrapped(""), `source "", detail-type "": says nothing of a value`},
		"SNS around text":             {wrapped("hello"), "notification: not an event's JSON"},
		"SNS around SNS":              {wrapped(wrapped(native("", ""))), `source "", detail-type "": says nothing of a value`},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := Parse(tc.body); err == nil || err.Error() != tc.want {
				t.Errorf("Parse = %+v, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, body := range []string{
		native("", ""), native("AWSCURRENT", "BLUE"), parameter("Update"), parameter("LabelParameterVersion"), wrapped(native("", "")),
		trail("API Call", "PutSecretValue", `"requestParameters":{"secretId":"prod/db","versionStages":["AWSPENDING"]}`),
		trail("API Call", "UpdateSecretVersionStage", `"requestParameters":{"secretId":"x","versionStage":"AWSCURRENT","moveToVersionId":"v"},"responseElements":{"aRN":"`+arn+`"}`),
		trail("Service Event", "RotationSucceeded", `"requestParameters":null,"additionalEventData":{"SecretId":"`+arn+`"}`),
	} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		e, err := Parse(body)
		if err != nil {
			if e != (Event{}) {
				t.Errorf("an error with %+v", e)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if e.ID == "" {
			t.Error("names nothing")
		}
		if e.Version != "" && e.Stage == "" {
			t.Error("a version under no label")
		}
		var plain envelope
		if err := decode(body, &plain); err != nil || plain.DetailType == "" || strings.ToValidUTF8(body, "") != body {
			return // a notification itself, or what JSON cannot hold
		}
		again, err := Parse(wrapped(body))
		if err != nil || again != e {
			t.Errorf("through SNS %+v, %v; want %+v", again, err, e)
		}
	})
}
