package awslab

import (
	"encoding/json"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAFormIsWhatJSONWouldSay(t *testing.T) {
	values, err := url.ParseQuery("Action=X&Version=" + queueVersion + "&QueueUrl=http%3A%2F%2Fa%2Fb&WaitTimeSeconds=20&AttributeName.1=All" +
		"&Attribute.1.Name=Policy&Attribute.1.Value=%7B%7D&Attribute.2.Value=5&Attribute.2.Name=DelaySeconds" +
		"&DeleteMessageBatchRequestEntry.1.Id=a&DeleteMessageBatchRequestEntry.1.ReceiptHandle=h")
	if err != nil {
		t.Fatal(err)
	}
	got := encoded(queryInput(values))
	want := `{"AttributeNames":["All"],"Attributes":{"DelaySeconds":"5","Policy":"{}"},"Entries":[{"Id":"a","ReceiptHandle":"h"}],"QueueUrl":"http://a/b","WaitTimeSeconds":20}`
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want)\n%s", diff)
	}
}

func FuzzForm(f *testing.F) {
	f.Add("Action=ReceiveMessage&Version=2012-11-05&WaitTimeSeconds=20")
	f.Add("Attribute.1.Name=a&Attribute.1.Value=b&Attribute..Name&AttributeName.1=x")
	f.Add("DeleteMessageBatchRequestEntry.1.Id=a&DeleteMessageBatchRequestEntry=b&DelaySeconds=-1e9")
	f.Fuzz(func(t *testing.T, form string) {
		values, err := url.ParseQuery(form)
		if err != nil {
			return
		}
		body, err := json.Marshal(queryInput(values))
		if err != nil {
			return // a number that is none
		}
		var plain map[string]json.RawMessage
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if _, ok := plain["Action"]; ok {
			t.Errorf("%s: the action is no part of the input", body)
		}
	})
}
