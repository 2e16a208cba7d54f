package render

import (
	"reflect"
	"regexp/syntax"
	"slices"
	"strings"
	"text/template/parse"
)

// What a template may use, whatever it and the values are: what does not end,
// or takes the memory of all, would take the other apps along. Steps are
// counted and not timed, so that a template does the same on every host.
const (
	maxText    = 8 << 20   // bytes of the result, and of what one function takes or returns
	maxSteps   = 5_000_000 // a second or a few
	maxNesting = 100       // of templates that call each other
	maxDepth   = 1000      // of blocks and parentheses in a text, of objects and lists in a value
	perStep    = 32        // bytes of text that are worth one step
)

// budget is what an execution has used.
type budget struct {
	steps   int
	nesting int
}

func (b *budget) spend(steps int) error {
	if b.steps += steps; b.steps > maxSteps {
		return faultf("the template takes more than %d steps: let its loops and texts be shorter", maxSteps)
	}
	return nil
}

// enter is called where each template begins, and leave where it ends.
func (x *execution) enter(number reflect.Value) (string, error) {
	st := x.reached(number)
	err := x.spend(st.cost)
	if x.nesting++; err == nil && x.nesting > maxNesting {
		err = faultf("templates nest more than %d deep", maxNesting)
	}
	if err != nil {
		return "", x.template.failure(st.pos, "", err)
	}
	return "", nil
}

func (x *execution) leave(reflect.Value) string {
	x.nesting--
	return ""
}

// sheet is what is written on, up to maxText.
type sheet struct {
	x *execution
	b []byte
}

// Write implements io.Writer.
func (s *sheet) Write(p []byte) (int, error) {
	if len(s.b)+len(p) > maxText {
		return 0, s.x.template.failure(s.x.last.pos, "", faultf("the result is larger than %d MiB", maxText>>20))
	}
	s.b = append(s.b, p...)
	return len(p), nil
}

// weight is how much there is of a value, with what is in it.
type weight struct {
	values int // itself, and those in it
	text   int // bytes
}

func (w *weight) steps() int { return w.values + w.text/perStep }

// add adds a value as often as it stands in another: what makes text of it
// goes over it as often.
func (w *weight) add(v reflect.Value, depth int) error {
	v = concrete(v)
	if w.values++; w.values > maxSteps {
		return faultf("there are more than %d values in one", maxSteps)
	}
	if depth > maxDepth {
		return faultf("objects and lists nest more than %d deep, or one is in itself", maxDepth)
	}
	switch {
	case !v.IsValid():
	case v.Type() == reflect.TypeFor[*scratch]():
		return w.add(v.Elem().FieldByName("values"), depth+1) // fmt goes on there
	case v.Kind() == reflect.String || isText(v):
		if w.text += v.Len(); w.text > maxText {
			return faultf("there is more than %d MiB of text", maxText>>20)
		}
	case v.Kind() == reflect.Slice || v.Kind() == reflect.Array:
		for i := range v.Len() {
			if err := w.add(v.Index(i), depth+1); err != nil {
				return err
			}
		}
	case v.Kind() == reflect.Map:
		for it := v.MapRange(); it.Next(); {
			for _, part := range []reflect.Value{it.Key(), it.Value()} {
				if err := w.add(part, depth+1); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// charge spends what a function is about to take for its arguments.
func (x *execution) charge(function string, args []reflect.Value) error {
	function = strings.TrimPrefix(function, "sprig_")
	sizes := make([]int, 2, 2+len(args)) // the greatest two are wanted
	var all weight
	for _, arg := range args {
		one := weight{values: 1}
		if v := concrete(arg); !passes(function) || v.IsValid() && isText(v) {
			if err := one.add(arg, 0); err != nil {
				return err
			}
		}
		all.values, all.text = all.values+one.values, all.text+one.text
		size := one.values + one.text
		if n, ok := numberOf(concrete(arg)); ok && n.i > 0 {
			size += int(min(n.i, maxSize))
		}
		sizes = append(sizes, size)
	}
	slices.Sort(sizes)
	first, second := sizes[len(sizes)-1], sizes[len(sizes)-2]
	cost := all.steps()
	switch {
	case strings.Contains(strings.ToLower(function), "regex") && len(args) > 0:
		cost += program(args[0]) * (perStep + all.text) / perStep
		fallthrough
	case multiplies(function):
		cost += first * second / perStep
	case function == "uniq" || function == "mustUniq":
		cost += first * first / perStep
	case function == "printf" && len(args) > 0:
		cost += widths(args[0]) / perStep
	case function == "derivePassword": // its work is its purpose
		cost += maxSteps / 10
	}
	return x.spend(cost)
}

// passes reports whether a function returns what it is given or something
// that is in it, or puts it into something else, and looks no further.
func passes(function string) bool {
	switch function {
	case "index", "get", "dig", "hasKey", "len", "list", "tuple", "dict", "set", "unset", "raw",
		"Key", "Get", "Set", "SetX", "MapSet", "MapSetX":
		return true
	}
	return false
}

// multiplies reports whether the result of a function, or its work, grows with
// the product of its arguments.
func multiplies(function string) bool {
	switch function {
	case "repeat", "indent", "nindent", "wrapWith", "join", "replace", "replaceAll", "has", "mustHas", "without", "mustWithout",
		"containsAll", "containsAny", "containsNone", "containsNotAll":
		return true
	}
	return false
}

// program returns the length of what a regular expression is compiled to: a
// few characters may repeat others a thousand times.
func program(expression reflect.Value) int {
	text, _ := scalar(concrete(expression))
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return 0 // the function says so
	}
	p, err := syntax.Compile(re.Simplify())
	if err != nil {
		return 0
	}
	return len(p.Inst)
}

// widths returns the most that the widths in a format can add: fmt takes up to
// a million for each verb.
func widths(format reflect.Value) int {
	text, _ := scalar(concrete(format))
	if !strings.ContainsAny(text, "*123456789") {
		return 0
	}
	most, digits := 0, 0
	for _, c := range text {
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c == '*':
			digits = 7
		default:
			digits = 0
		}
		if digits > 3 {
			most = 1_000_000
		}
	}
	return strings.Count(text, "%") * most
}

// tooDeep returns a mistake when blocks or parentheses nest deeper than what
// goes through them may follow.
func (t *Template) tooDeep() *Error {
	for _, tree := range t.trees {
		if n := deeper(tree.Root, 0); n != nil {
			return t.failure(int(n.Position()), "", faultf("blocks and parentheses nest more than %d deep", maxDepth))
		}
	}
	return nil
}

// deeper returns a node below n, itself so deep, that is too deep.
func deeper(n parse.Node, depth int) parse.Node {
	if depth > maxDepth {
		return n
	}
	var below []parse.Node
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		below, depth = n.Nodes, depth-1 // a block is two nodes
	case *parse.ActionNode:
		below = []parse.Node{n.Pipe}
	case *parse.IfNode:
		below = []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.WithNode:
		below = []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.RangeNode:
		below = []parse.Node{n.Pipe, n.List, n.ElseList}
	case *parse.TemplateNode:
		below = []parse.Node{n.Pipe}
	case *parse.PipeNode:
		if n == nil {
			return nil
		}
		for _, cmd := range n.Cmds {
			below = append(below, cmd.Args...)
		}
	case *parse.ChainNode:
		below = []parse.Node{n.Node}
	}
	for _, b := range below {
		if found := deeper(b, depth+1); found != nil {
			return found
		}
	}
	return nil
}
