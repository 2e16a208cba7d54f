package render

import (
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
)

// Calls of these take the place of every call, field access, insertion and
// range in a template, so that it is our code that meets the values and
// words the errors; text/template is left with the control flow. No template
// can name them: the names of all functions are checked before.
const (
	callFunc  = "_call"
	fieldFunc = "_field"
	printFunc = "_print"
	rangeFunc = "_range"
	enterFunc = "_enter" // where a template begins
	leaveFunc = "_leave" // where it ends
)

// site is one place in a template's text where one of ours is called.
type site struct {
	pos      int           // offset in the text; for a field access, of the first field
	name     string        // the function
	function reflect.Value // likewise
	fields   []string      // of a field access
	base     origin        // of what is accessed, printed or ranged over
	literal  []bool        // for each argument: whether it is a string in the text
	pair     bool          // of a range: it declares two variables
	finish   reflect.Type  // of a call whose result is finished text: its type
	place    spot          // of an insertion
	cost     int           // of a template or of one turn of a range: how many nodes there are
}

// origin says where a value comes from, as far as the text alone tells.
type origin struct {
	known bool     // it is what the snapshot has at path
	path  []string // the secret's name first, then fields; empty: the root
	label string   // how errors name it when it is not known; empty: not at all
}

// String returns how errors name the value.
func (o origin) String() string {
	switch {
	case len(o.path) > 0:
		var names []string
		for _, n := range o.path {
			names = append(names, quoted(n))
		}
		return strings.Join(names, ".")
	case o.label != "":
		return o.label
	}
	return "the value"
}

// append returns the origin of a value further down.
func (o origin) append(names []string) origin {
	switch {
	case o.known:
		return origin{known: true, path: slices.Concat(o.path, names)}
	case o.label != "":
		return origin{label: strings.Join(slices.Concat([]string{o.label}, names), ".")}
	}
	return origin{}
}

// scope is what is known of . and $ at one place in the text.
type scope struct {
	dot    origin
	dollar bool // $ is the root
}

// rewriter goes once through the trees of a template.
type rewriter struct {
	t         *Template
	functions library
	declared  []string
	places    map[*parse.ActionNode]spot
	used      map[string]bool
	whole     bool // the root as a whole is used
	nodes     int  // met since the template or the body of the range began
	mistakes  []*Error
}

// rewrite replaces what the constants above name in all of t's trees and
// finds out which secrets they reach. Places says where insertions stand.
func (t *Template) rewrite(declared []string, places map[*parse.ActionNode]spot) []*Error {
	r := &rewriter{t: t, declared: declared, places: places, used: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(t.trees)) {
		main, root := name == "", t.trees[name].Root
		r.nodes = 10 // what a call takes by itself
		r.list(scope{dot: origin{known: main}, dollar: main}, root)
		enter := r.action(root.Pos, enterFunc, site{pos: int(root.Pos), cost: r.nodes})
		root.Nodes = slices.Concat([]parse.Node{enter}, root.Nodes, []parse.Node{r.action(root.Pos, leaveFunc, site{})})
	}
	t.secrets = slices.Sorted(maps.Keys(r.used))
	if r.whole {
		t.secrets = slices.Clone(declared)
	}
	return r.mistakes
}

// mistake records one.
func (r *rewriter) mistake(pos int, function string, err error) {
	r.mistakes = append(r.mistakes, r.t.failure(pos, function, err))
}

func (r *rewriter) list(s scope, l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		r.node(s, n)
	}
}

func (r *rewriter) node(s scope, n parse.Node) {
	r.nodes++
	switch n := n.(type) {
	case *parse.ActionNode:
		base := s.origin(n.Pipe)
		r.pipe(s, n.Pipe)
		if len(n.Pipe.Decl) == 0 {
			r.extend(n.Pipe, printFunc, site{base: base, place: r.places[n]})
		}
	case *parse.IfNode:
		r.pipe(s, n.Pipe)
		r.list(s, n.List)
		r.list(s, n.ElseList)
	case *parse.WithNode:
		inner := scope{dot: s.origin(n.Pipe), dollar: s.dollar}
		r.pipe(s, n.Pipe)
		r.list(inner, n.List)
		r.list(s, n.ElseList)
	case *parse.RangeNode:
		base := s.origin(n.Pipe)
		r.pipe(s, n.Pipe)
		outer := r.nodes
		r.nodes = 1
		r.list(scope{dollar: s.dollar}, n.List)
		r.extend(n.Pipe, rangeFunc, site{base: base, pair: len(n.Pipe.Decl) > 1, cost: r.nodes})
		r.nodes = outer
		r.list(s, n.ElseList)
	case *parse.TemplateNode:
		r.defined(n.Name, int(n.Pos))
		if n.Pipe != nil {
			r.pipe(s, n.Pipe)
		}
	}
}

// defined checks that a template of that name exists.
func (r *rewriter) defined(name string, pos int) {
	if r.t.trees[name] == nil {
		r.mistake(pos, "", faultf("template %q is not defined%s", name, suggestion(name, maps.Keys(r.t.trees))))
	}
}

func (r *rewriter) pipe(s scope, p *parse.PipeNode) {
	for i, cmd := range p.Cmds {
		r.command(s, cmd, i > 0)
	}
}

// extend appends a call of one of ours to a pipeline.
func (r *rewriter) extend(p *parse.PipeNode, function string, st site) {
	st.pos = int(p.Cmds[0].Pos)
	cmd := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: p.Pos}
	r.replace(cmd, function, st, nil)
	p.Cmds = append(p.Cmds, cmd)
}

// action returns a call of one of ours that inserts nothing.
func (r *rewriter) action(pos parse.Pos, function string, st site) *parse.ActionNode {
	cmd := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos}
	r.replace(cmd, function, st, nil)
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{cmd}}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pos: pos, Pipe: pipe}
}

// replace makes of a command the call of one of ours.
func (r *rewriter) replace(cmd *parse.CommandNode, function string, st site, args []parse.Node) {
	number := &parse.NumberNode{NodeType: parse.NodeNumber, Pos: cmd.Pos, IsInt: true,
		Int64: int64(len(r.t.sites)), Text: strconv.Itoa(len(r.t.sites))}
	r.t.sites = append(r.t.sites, st)
	cmd.Args = append([]parse.Node{parse.NewIdentifier(function).SetPos(cmd.Pos), number}, args...)
}

// command rewrites one command; piped says that the value of the one before
// it is its last argument.
func (r *rewriter) command(s scope, cmd *parse.CommandNode, piped bool) {
	word := cmd.Args[0]
	switch word := word.(type) {
	case *parse.IdentifierNode:
		r.call(s, cmd, word, piped)
		return
	case *parse.FieldNode, *parse.ChainNode:
		r.fields(s, cmd, word)
		return
	case *parse.VariableNode:
		if len(word.Ident) > 1 {
			r.fields(s, cmd, word)
			return
		}
	case *parse.NilNode:
		r.mistake(int(word.Pos), "", fault("nil alone is not a value"))
	}
	if piped || len(cmd.Args) > 1 {
		r.mistake(int(word.Position()), "", faultf("%s is not a function: it takes no arguments", word))
	}
	cmd.Args[0] = r.argument(s, word)
}

// call rewrites the call of a function.
func (r *rewriter) call(s scope, cmd *parse.CommandNode, id *parse.IdentifierNode, piped bool) {
	args := cmd.Args[1:]
	st := site{pos: int(id.Pos), name: id.Ident, literal: make([]bool, len(args))}
	count := len(args)
	if piped {
		count++
	}
	whole := s.origin(cmd) // known for index alone
	r.reach(whole, st.pos)
	for i, a := range args {
		if i == 0 {
			st.base = s.origin(a)
		}
		_, st.literal[i] = a.(*parse.StringNode)
		if i == 0 && whole.known && len(st.base.path) == 0 {
			continue // index . "db" reaches db, not the whole root
		}
		args[i] = r.argument(s, a)
	}
	if id.Ident == "and" || id.Ident == "or" { // they need not evaluate all arguments: text/template's own
		if count == 0 {
			r.mistake(st.pos, st.name, fault("wants at least 1 argument, has none"))
		}
		return
	}
	function, err := r.functions.find(id.Ident)
	if err == nil {
		err = arity(function.Type(), count)
	}
	if err != nil {
		r.mistake(st.pos, st.name, err)
		return
	}
	if name, ok := firstText(args); ok && st.name == "executeTemplate" {
		r.defined(name, int(args[0].Position()))
	}
	st.function = function
	if r.t.grammar != nil {
		st.finish = finishes(st.name)
	}
	r.replace(cmd, callFunc, st, args)
}

// firstText returns the first argument if it is a string in the text.
func firstText(args []parse.Node) (string, bool) {
	if len(args) == 0 {
		return "", false
	}
	n, ok := args[0].(*parse.StringNode)
	if !ok {
		return "", false
	}
	return n.Text, true
}

// fields rewrites an access such as .a.b, $x.a.b or (…).a.b, whose last name
// may be a method with arguments.
func (r *rewriter) fields(s scope, cmd *parse.CommandNode, n parse.Node) {
	if o := s.origin(n); o.known {
		r.reach(o, start(n))
	}
	var base parse.Node
	st := site{pos: int(n.Position())} // a node of several names has the place of its second
	switch n := n.(type) {
	case *parse.FieldNode:
		base, st.fields, st.base, st.pos = &parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Ident, s.dot, start(n)
	case *parse.VariableNode:
		v := &parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: n.Ident[:1]}
		base, st.fields, st.base = v, n.Ident[1:], s.origin(v)
	case *parse.ChainNode:
		st.fields, st.base = n.Field, s.origin(n.Node)
		base = r.argument(s, n.Node)
	}
	args := []parse.Node{base}
	for _, a := range cmd.Args[1:] {
		args = append(args, r.argument(s, a))
	}
	r.replace(cmd, fieldFunc, st, args)
}

// start returns the offset of the first character of a field or variable.
func start(n parse.Node) int {
	pos := int(n.Position())
	switch n := n.(type) {
	case *parse.FieldNode:
		if len(n.Ident) > 1 {
			return pos - len(n.Ident[0]) - 1
		}
	case *parse.VariableNode:
		if len(n.Ident) > 1 {
			return pos - len(n.Ident[0])
		}
	}
	return pos
}

// argument rewrites one operand and returns what takes its place.
func (r *rewriter) argument(s scope, n parse.Node) parse.Node {
	switch n := n.(type) {
	case *parse.PipeNode:
		r.pipe(s, n)
	case *parse.IdentifierNode, *parse.FieldNode, *parse.ChainNode:
		return r.wrapped(s, n)
	case *parse.VariableNode:
		if len(n.Ident) > 1 {
			return r.wrapped(s, n)
		}
		r.reach(s.origin(n), int(n.Pos))
	case *parse.DotNode:
		r.reach(s.dot, int(n.Pos))
	case *parse.NumberNode:
		if !n.IsInt && !n.IsComplex && (!n.IsFloat || !strings.ContainsAny(n.Text, ".eEpP")) {
			r.mistake(int(n.Pos), "", fault("the number is too large"))
		}
	}
	return n
}

// wrapped returns an operand as a pipeline in parentheses, rewritten.
func (r *rewriter) wrapped(s scope, n parse.Node) parse.Node {
	cmd := &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Position(), Args: []parse.Node{n}}
	r.command(s, cmd, false)
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: n.Position(), Cmds: []*parse.CommandNode{cmd}}
}

// reach notes that a value of the snapshot is used, and checks that its
// secret is declared.
func (r *rewriter) reach(o origin, pos int) {
	switch {
	case !o.known:
	case len(o.path) == 0:
		r.whole = true
	case slices.Contains(r.declared, o.path[0]):
		r.used[o.path[0]] = true
	default:
		r.mistake(pos, "", faultf("secret %s is not declared%s", quoted(o.path[0]), suggestion(o.path[0], slices.Values(r.declared))))
	}
}

// origin tells where the value of an expression comes from.
func (s scope) origin(n parse.Node) origin {
	switch n := n.(type) {
	case *parse.DotNode:
		return s.dot
	case *parse.FieldNode:
		return s.dot.append(n.Ident)
	case *parse.VariableNode:
		if n.Ident[0] == "$" && s.dollar {
			return origin{known: true, path: n.Ident[1:]}
		}
		return origin{label: n.Ident[0]}.append(n.Ident[1:])
	case *parse.ChainNode:
		return s.origin(n.Node).append(n.Field)
	case *parse.PipeNode:
		if len(n.Cmds) == 1 {
			return s.origin(n.Cmds[0])
		}
	case *parse.CommandNode:
		if len(n.Args) == 1 {
			return s.origin(n.Args[0])
		}
		if id, ok := n.Args[0].(*parse.IdentifierNode); ok && id.Ident == "index" {
			return s.indexed(n.Args[1], n.Args[2:])
		}
	}
	return origin{}
}

// indexed tells where the value of index comes from.
func (s scope) indexed(base parse.Node, keys []parse.Node) origin {
	var names []string
	for _, k := range keys {
		text, ok := k.(*parse.StringNode)
		if !ok {
			return origin{}
		}
		names = append(names, text.Text)
	}
	return s.origin(base).append(names)
}
