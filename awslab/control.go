package awslab

import (
	"encoding/json"
	"math/big"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"
)

// isControl reports whether a request is to the lab itself, not to AWS.
func isControl(r *http.Request) bool { return strings.HasPrefix(r.URL.Path, "/_lab/") }

// control answers the paths under /_lab/, for who cannot call the methods:
//
//	POST   /_lab/faults          a Fault; "delay" is a duration such as "2s"
//	DELETE /_lab/faults          ClearFaults
//	POST   /_lab/clock           {"skew": "-10m"}
//	GET    /_lab/calls           {"secretsmanager.GetSecretValue": 3}
//	DELETE /_lab/calls           ResetCalls
//	GET    /_lab/throttled       as calls: Throttled
//	POST   /_lab/quotas          {"operation": "ssm.GetParameters", "per_second": 1}: SetQuota; {}: EnableQuotas
//	POST   /_lab/staleness       {"for": "5s"}: SetStaleness
//	DELETE /_lab/sessions        RevokeSessions
//	POST   /_lab/revocations     {"serial": "decimal"}: RevokeCertificate
//	POST   /_lab/denials         {"operation": "GetSecretValue", "secret": "prod/db"}: Deny
//	DELETE /_lab/denials         AllowAll
//
// It wants application/json of whoever writes, so that no web page in a
// browser on the same machine can do so unasked.
func (l *Lab) control(r *http.Request, body []byte, local bool) *response {
	if !local {
		return controlFailure(http.StatusForbidden, "the controls answer to loopback only")
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if r.Method == http.MethodPost && mediaType != "application/json" {
		return controlFailure(http.StatusUnsupportedMediaType, "send application/json")
	}
	var out any = struct{}{}
	var err error
	switch r.Method + " " + strings.TrimPrefix(r.URL.Path, "/_lab/") {
	case "POST faults":
		err = l.postFault(body)
	case "DELETE faults":
		l.ClearFaults()
	case "POST clock":
		err = l.postSkew(body)
	case "GET calls":
		out = l.Calls()
	case "DELETE calls":
		l.ResetCalls()
	case "GET throttled":
		out = l.Throttled()
	case "POST quotas":
		err = l.postQuota(body)
	case "POST staleness":
		err = l.postStaleness(body)
	case "DELETE sessions":
		l.RevokeSessions()
	case "POST revocations":
		err = l.postRevocation(body)
	case "POST denials":
		err = l.postDenial(body)
	case "DELETE denials":
		l.AllowAll()
	default:
		return controlFailure(http.StatusNotFound, "no such control")
	}
	if err != nil {
		return controlFailure(http.StatusBadRequest, err.Error())
	}
	return jsonResponse(http.StatusOK, "application/json", out)
}

func controlFailure(status int, message string) *response {
	return jsonResponse(status, "application/json", map[string]string{"message": message})
}

func (l *Lab) postFault(body []byte) error {
	var in struct {
		Fault
		Delay duration `json:"delay"`
	}
	if err := decodeStrict(body, &in); err != nil {
		return err
	}
	in.Fault.Delay = time.Duration(in.Delay)
	return l.AddFault(in.Fault)
}

func (l *Lab) postSkew(body []byte) error {
	var in struct {
		Skew duration `json:"skew"`
	}
	err := decodeStrict(body, &in)
	if err == nil {
		l.SetSkew(time.Duration(in.Skew))
	}
	return err
}

func (l *Lab) postQuota(body []byte) error {
	var in struct {
		Operation string  `json:"operation"`
		PerSecond float64 `json:"per_second"`
	}
	if err := decodeStrict(body, &in); err != nil {
		return err
	}
	if in.Operation == "" {
		l.EnableQuotas()
		return nil
	}
	return l.SetQuota(in.Operation, in.PerSecond)
}

func (l *Lab) postStaleness(body []byte) error {
	var in struct {
		For duration `json:"for"`
	}
	err := decodeStrict(body, &in)
	if err == nil {
		l.SetStaleness(time.Duration(in.For))
	}
	return err
}

func (l *Lab) postRevocation(body []byte) error {
	var in struct {
		Serial string `json:"serial"`
	}
	if err := decodeStrict(body, &in); err != nil {
		return err
	}
	serial, ok := new(big.Int).SetString(in.Serial, 10)
	if !ok {
		return errValidation("serial: must be decimal")
	}
	l.RevokeCertificate(serial)
	return nil
}

func (l *Lab) postDenial(body []byte) error {
	var in struct {
		Operation string `json:"operation"`
		Secret    string `json:"secret"`
	}
	if err := decodeStrict(body, &in); err != nil {
		return err
	}
	if !isOperation(in.Operation) {
		return errValidation("operation: %q is none of Secrets Manager's, Parameter Store's or SQS's", in.Operation)
	}
	l.Deny(in.Operation, in.Secret)
	return nil
}

func isOperation(name string) bool {
	return slices.ContainsFunc([]string{secretsManager, systemsManager, queueService}, func(service string) bool {
		return operationOf(call{service: service, operation: strings.TrimPrefix(name, service+".")}) != nil
	})
}

// duration reads Go's own form.
type duration time.Duration

// UnmarshalJSON takes a string such as "1m30s".
func (d *duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	parsed, err := time.ParseDuration(s)
	*d = duration(parsed)
	return err
}
