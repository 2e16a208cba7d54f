package render

import (
	"strconv"
	"strings"
	"text/template/parse"
)

// placer goes through the trees of a template before they are rewritten and
// finds the place of every insertion, as html/template does. A template that
// is called from several places is copied for each of them.
type placer struct {
	t        *Template
	grammar  *grammar
	places   map[*parse.ActionNode]spot
	copies   map[copied]*clone
	left     []state // where break and continue leave the innermost range
	mistakes []*Error
}

// copied is a template and the state that it is called in.
type copied struct {
	name  string
	start state
}

// clone is the copy of a template for one state.
type clone struct {
	name string
	end  state
	used bool // while it was gone through: it calls itself
}

const (
	maxClones = 100 // of all templates; more come of one that calls itself within ever more brackets
	maxTurns  = 10  // until a loop or a recursion must have settled
)

// copyMark stands in the names of clones between the name and a number.
const copyMark = "\x00"

// place finds the places of t's insertions in its format.
func (t *Template) place() *placer {
	if t.grammar == nil {
		return &placer{}
	}
	p := &placer{t: t, grammar: t.grammar, places: map[*parse.ActionNode]spot{}, copies: map[copied]*clone{}}
	end := p.list(p.grammar.start, t.trees[""].Root)
	if wrong := p.step(end, '\n').fault; wrong != "" {
		p.mistake(len(t.text), fault(wrong))
	}
	return p
}

func (p *placer) mistake(pos int, err error) {
	p.mistakes = append(p.mistakes, p.t.failure(pos, "", err))
}

// list returns the state after a list of nodes that begins in s.
func (p *placer) list(s state, l *parse.ListNode) state {
	if l == nil {
		return s
	}
	for _, n := range l.Nodes {
		s = p.node(s, n)
	}
	return s
}

func (p *placer) node(s state, n parse.Node) state {
	switch n := n.(type) {
	case *parse.TextNode:
		return p.text(s, n)
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 {
			return p.action(s, n)
		}
	case *parse.IfNode:
		return p.join(int(n.Pos), p.list(s, n.List), p.list(s, n.ElseList))
	case *parse.WithNode:
		return p.join(int(n.Pos), p.list(s, n.List), p.list(s, n.ElseList))
	case *parse.RangeNode:
		return p.loop(s, n)
	case *parse.TemplateNode:
		return p.template(s, n)
	case *parse.BreakNode, *parse.ContinueNode:
		p.left = append(p.left, s)
		return state{mode: dead}
	}
	return s
}

func (p *placer) text(s state, n *parse.TextNode) state {
	for i, c := range n.Text {
		s = p.step(s, c)
		if s.fault != "" {
			p.mistake(int(n.Pos)+i, fault(s.fault))
			s.fault = ""
		}
	}
	return s
}

// step is the grammar's, for a line that must end as well.
func (p *placer) step(s state, c byte) state {
	switch {
	case s.mode == dead:
		return s
	case !s.awaiting:
		return p.grammar.step(s, c)
	case isBlank(c):
		return s
	case c == '\n':
		s.awaiting = false
		return s
	}
	s.awaiting = false
	return p.grammar.step(s, c).failed("a line goes on here that another branch or turn has not begun: put a line break before, or write the line in both")
}

func (p *placer) action(s state, n *parse.ActionNode) state {
	if s.mode == dead {
		p.places[n] = nowhere
		return s
	}
	at, next := p.grammar.insert(s)
	if s.awaiting {
		at, next = nowhere, s
	}
	if isRaw(n.Pipe) {
		next.inserted = false
		p.places[n] = verbatim
		return next
	}
	p.places[n] = at
	if at == nowhere {
		next.escape = 0
		p.mistake(int(n.Pipe.Cmds[0].Pos), faultf("a value cannot be inserted %s%s", s.where(), s.remedy()))
	}
	return next
}

// isRaw reports whether a pipeline ends in raw.
func isRaw(p *parse.PipeNode) bool {
	args := p.Cmds[len(p.Cmds)-1].Args
	switch word := args[0].(type) {
	case *parse.IdentifierNode:
		return word.Ident == "raw"
	case *parse.PipeNode:
		return len(args) == 1 && isRaw(word)
	}
	return false
}

// join returns the state where two branches meet. Branches that differ may
// still agree about the next line.
func (p *placer) join(pos int, a, b state) state {
	if s, ok := join(a, b); ok {
		return s
	}
	x, y := p.step(a, '\n'), p.step(b, '\n')
	if s, ok := join(x, y); ok && s.mode == atLine && x.fault+y.fault == "" {
		s.awaiting = true
		return s
	}
	p.mistake(pos, faultf("the branches or turns of this block end differently: %s, and %s", a.where(), b.where()))
	return a
}

// loop returns the state after a range. Its body begins in what is known of
// the text before the first turn and after each.
func (p *placer) loop(s state, n *parse.RangeNode) state {
	outer := p.left
	defer func() { p.left = outer }()
	head := s
	for range maxTurns {
		p.left = nil
		end := p.list(head, n.List)
		next := head
		for _, e := range append(p.left, end) {
			next = p.join(int(n.Pos), next, e)
		}
		if next == head || len(p.mistakes) > 0 {
			break
		}
		head = next
	}
	return p.join(int(n.Pos), head, p.list(s, n.ElseList))
}

// template returns the state after the call of a template, and has the call
// name the copy for s.
func (p *placer) template(s state, n *parse.TemplateNode) state {
	name, _, _ := strings.Cut(n.Name, copyMark) // it was gone through before
	original := p.t.trees[name]
	if original == nil {
		return s // rewrite says so
	}
	c := p.copies[copied{name, s}]
	if c == nil {
		if len(p.copies) >= min(maxClones, 1+maxText/len(p.t.text)) {
			p.mistake(int(n.Pos), faultf("template %s is called in too many places that differ", quoted(name)))
			return s
		}
		c = &clone{name: name + copyMark + strconv.Itoa(len(p.copies)), end: state{mode: dead}}
		p.copies[copied{name, s}] = c
		p.clone(c, s, original)
	}
	c.used = true
	n.Name = c.name
	return c.end
}

// clone goes through a copy of a template that begins in s, again when it
// calls itself: it then goes on after the call as it ends.
func (p *placer) clone(c *clone, s state, original *parse.Tree) {
	tree := original.Copy()
	p.t.trees[c.name] = tree
	for range maxTurns {
		c.used = false
		end := p.join(int(tree.Root.Pos), c.end, p.list(s, tree.Root))
		settled := end == c.end
		c.end = end
		if settled || !c.used || len(p.mistakes) > 0 {
			return
		}
	}
}
