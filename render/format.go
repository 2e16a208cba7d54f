package render

import (
	"reflect"
	"strings"
)

// Format is the syntax of a file, and with it how values are written into it.
// The zero Format is None. docs/templates.md says which dialect each of them
// is and what it cannot carry.
type Format string

// The formats. None writes values verbatim.
const (
	None               Format = "none"
	Properties         Format = "properties"
	INI                Format = "ini"
	Dotenv             Format = "dotenv"
	JSON               Format = "json"
	YAML               Format = "yaml"
	MyCnf              Format = "my.cnf"
	SystemdEnvironment Format = "systemd-environment"
	TOML               Format = "toml"
	Shell              Format = "shell"
	Pgpass             Format = "pgpass"
	XML                Format = "xml"
)

// Formats returns all formats, None first.
func Formats() []Format {
	return []Format{None, Properties, INI, Dotenv, JSON, YAML, MyCnf, SystemdEnvironment, TOML, Shell, Pgpass, XML}
}

// grammar is what is known of a format.
type grammar struct {
	start state
	// step returns the state after one more byte of text.
	step func(s state, c byte) state
	// insert returns the place that s is for a value, and the state after the
	// value; nowhere, and s itself, where there can be none.
	insert func(s state) (spot, state)
	// escape returns how a value is written at a place. Its faults go on
	// after the value's name: "holds a line break, which …".
	escape func(p spot, v insertion) (string, error)
	// check parses a whole result. Its faults name the line and no value.
	check func(result []byte) error
}

// grammar returns what is known of f: nil for None.
func (f Format) grammar() (*grammar, error) {
	switch f {
	case None, "":
		return nil, nil
	case Properties:
		return properties(), nil
	case INI:
		return ini(), nil
	case Dotenv:
		return dotenv(), nil
	case JSON:
		return jsonGrammar(), nil
	case YAML:
		return yamlGrammar(), nil
	case MyCnf:
		return myCnf(), nil
	case SystemdEnvironment:
		return systemdEnvironment(), nil
	case TOML:
		return tomlGrammar(), nil
	case Shell:
		return shell(), nil
	case Pgpass:
		return pgpass(), nil
	case XML:
		return xmlGrammar(), nil
	}
	return nil, faultf("there is no format %s", quoted(string(f)))
}

// spot is where a value stands.
type spot uint8

const (
	verbatim spot = iota // it is written as it is
	nowhere              // no value can stand here
	bare                 // outside of quotation marks
	ownLine              // likewise, with nothing before it on its line
	single               // between single quotation marks
	double               // between double ones
)

// insertion is a value to be written.
type insertion struct {
	text     string
	literal  bool         // a number, true or false
	finished reflect.Type // of finished text; nil for any other
}

// The types of finished text, which is written as it is where its language is
// the format's. Every function takes it for a string, and gives an ordinary
// string back.
type (
	jsonText string
	yamlText string
	tomlText string
)

// finishes returns the type that a function's result has as finished text, or
// nil.
func finishes(function string) reflect.Type {
	switch strings.TrimPrefix(function, "sprig_") {
	case "toJSON", "toJSONPretty", "toUnescapedJSON", "toUnescapedJSONPretty",
		"toJson", "toPrettyJson", "toRawJson", "mustToJson", "mustToPrettyJson", "mustToRawJson":
		return reflect.TypeFor[jsonText]()
	case "toYAML":
		return reflect.TypeFor[yamlText]()
	case "toTOML":
		return reflect.TypeFor[tomlText]()
	}
	return nil
}

// isFinished reports whether t is one of the types of finished text.
func isFinished(t reflect.Type) bool {
	switch t {
	case reflect.TypeFor[jsonText](), reflect.TypeFor[yamlText](), reflect.TypeFor[tomlText]():
		return true
	}
	return false
}
