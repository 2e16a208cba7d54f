package awslab

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What a request of SQS's query protocol says it is.
const (
	queueVersion   = "2012-11-05"
	queueNamespace = "http://queue.amazonaws.com/doc/2012-11-05/"
)

// answerQuery answers a form as SDKs sent them to SQS until 2023, among them
// those that Debian 12 has: it is turned into JSON, and the answer into XML.
func (l *Lab) answerQuery(c call, r *http.Request, who caller, form []byte, do operation) (*response, error) {
	values, err := url.ParseQuery(string(form))
	if err != nil {
		return nil, errValidation("body: malformed")
	}
	body, err := json.Marshal(queryInput(values))
	if err != nil {
		return nil, errValidation("body: a number is none")
	}
	out, err := do(r.Context(), l, who, body)
	if err != nil {
		return nil, err
	}
	var plain map[string]any
	if err := json.Unmarshal([]byte(encoded(out)), &plain); err != nil {
		return nil, err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<%[1]sResponse xmlns=%[2]q><%[1]sResult>`, c.operation, queueNamespace)
	writeMembers(&b, plain)
	fmt.Fprintf(&b, `</%[1]sResult><ResponseMetadata><RequestId>%[2]s</RequestId></ResponseMetadata></%[1]sResponse>`, c.operation, newUUID())
	return &response{status: http.StatusOK, header: http.Header{"Content-Type": {"text/xml"}}, body: []byte(b.String())}, nil
}

// queryInput makes a form's flattened lists and maps what they are in JSON.
func queryInput(values url.Values) map[string]any {
	in := map[string]any{}
	attributes := map[string]string{}
	entries := map[string]map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values.Get(key)
		name, rest, _ := strings.Cut(key, ".")
		index, member, _ := strings.Cut(rest, ".")
		switch name {
		case "Action", "Version":
		case "Attribute":
			if member == "Name" {
				attributes[value] = values.Get(name + "." + index + ".Value")
			}
		case "AttributeName", "MessageAttributeName":
			list, _ := in[name+"s"].([]string)
			in[name+"s"] = append(list, value)
		case "DeleteMessageBatchRequestEntry":
			if entries[index] == nil {
				entries[index] = map[string]string{}
			}
			entries[index][member] = value
		case "MaxNumberOfMessages", "VisibilityTimeout", "WaitTimeSeconds", "DelaySeconds":
			in[name] = json.Number(value)
		default:
			in[key] = value
		}
	}
	if len(attributes) > 0 {
		in["Attributes"] = attributes
	}
	if len(entries) > 0 {
		in["Entries"] = slices.Collect(maps.Values(entries))
	}
	return in
}

// writeMembers writes what JSON has as an object.
func writeMembers(b *strings.Builder, members map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		switch value := members[name].(type) {
		case []any:
			for _, element := range value {
				object, _ := element.(map[string]any) // every list here is of objects
				fmt.Fprintf(b, "<%s>", elementOf(name))
				writeMembers(b, object)
				fmt.Fprintf(b, "</%s>", elementOf(name))
			}
		case map[string]any: // Attributes
			for _, key := range slices.Sorted(maps.Keys(value)) {
				b.WriteString("<Attribute>")
				writeMembers(b, map[string]any{"Name": key, "Value": value[key]})
				b.WriteString("</Attribute>")
			}
		case bool:
			writeMembers(b, map[string]any{name: strconv.FormatBool(value)})
		case string:
			fmt.Fprintf(b, "<%s>", name)
			_ = xml.EscapeText(b, []byte(value)) // a Builder takes everything
			fmt.Fprintf(b, "</%s>", name)
		}
	}
}

// elementOf names what a list's elements are in XML.
func elementOf(list string) string {
	switch list {
	case "Messages":
		return "Message"
	case "Successful":
		return "DeleteMessageBatchResultEntry"
	}
	return "BatchResultErrorEntry"
}
