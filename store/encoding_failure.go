package store

var executionStates = []ExecutionState{"", NotStarted, Invoking, WaitingToCompensate, Compensating, Done, Reverted, Failed}

var errandKinds = []ErrandKind{"", StartChild, RevertChild, ForgetChild, AnswerParent, ReleaseLocks, CancelTicket}

var eventKinds = []EventKind{"", CompleteStep, FailStep, Cancel, Revert, Resume, ChildEnded, TaskEnded}

func (e *ErrorRecord) append(b []byte) []byte {
	return putString(putString(b, 1, e.Type), 2, e.Message)
}

func readErrorRecord(r *reader) (e ErrorRecord, err error) {
	for r.next() {
		switch r.field {
		case 1:
			e.Type = r.string()
		case 2:
			e.Message = r.string()
		default:
			r.unknown()
		}
	}
	return e, r.err
}

// Encode appends the record to b.
func (f *Failure) Encode(b []byte) []byte {
	b = putItem(b, 1, f.Path)
	b = putString(b, 2, f.Phase)
	b = putUint(b, 3, uint64(f.Attempt))
	b = putString(b, 4, f.Message)
	for i := range f.Chain {
		b = putNested(b, 5, f.Chain[i].append)
	}
	return putString(b, 6, f.Stack)
}

// DecodeFailure is the reverse of [Failure.Encode]. It returns [*RecordError].
func DecodeFailure(data []byte) (Failure, error) {
	return readFailure(&reader{record: "failure", data: data})
}

func readFailure(r *reader) (f Failure, err error) {
	for r.next() {
		switch r.field {
		case 1:
			f.Path = r.string()
		case 2:
			f.Phase = r.string()
		case 3:
			f.Attempt = r.count()
		case 4:
			f.Message = r.string()
		case 5:
			e, err := readErrorRecord(r.nested("error"))
			r.take(err)
			f.Chain = append(f.Chain, e)
		case 6:
			f.Stack = r.string()
		default:
			r.unknown()
		}
	}
	return f, r.err
}

func (k Key) append(b []byte) []byte {
	return putString(putString(b, 1, k.Workflow), 2, k.ID)
}

func readKey(r *reader) (k Key, err error) {
	for r.next() {
		switch r.field {
		case 1:
			k.Workflow = r.string()
		case 2:
			k.ID = r.string()
		default:
			r.unknown()
		}
	}
	return k, r.err
}

// Encode appends the record to b.
func (e *Errand) Encode(b []byte) []byte {
	b = putUint(b, 1, number(errandKinds, e.Kind))
	b = putNested(b, 2, e.Place.append)
	b = putNested(b, 3, e.Target.append)
	b = putString(b, 4, e.Fingerprint)
	b = putBytes(b, 5, e.Input)
	b = appendHolds(b, 6, e.Holds)
	b = putString(b, 7, e.Ticket)
	b = putString(b, 8, e.Provider)
	return putUint(b, 9, e.Revision)
}

// DecodeErrand is the reverse of [Errand.Encode]. It returns [*RecordError]. The record
// shares memory with the data.
func DecodeErrand(data []byte) (e Errand, err error) {
	r := reader{record: "errand", data: data}
	for r.next() {
		switch r.field {
		case 1:
			e.Kind = named(&r, errandKinds)
		case 2:
			e.Place, err = readPlace(r.nested("place"))
			r.take(err)
		case 3:
			e.Target, err = readKey(r.nested("key"))
			r.take(err)
		case 4:
			e.Fingerprint = r.string()
		case 5:
			e.Input = r.blob()
		case 6:
			h, err := readHold(r.nested("hold"))
			r.take(err)
			e.Holds = append(e.Holds, h)
		case 7:
			e.Ticket = r.string()
		case 8:
			e.Provider = r.string()
		case 9:
			e.Revision = r.uint()
		default:
			r.unknown()
		}
	}
	return e, r.err
}

// Encode appends the record to b.
func (e *Event) Encode(b []byte) []byte {
	b = putUint(b, 1, number(eventKinds, e.Kind))
	b = putString(b, 2, e.Path)
	if e.Place != (Place{}) {
		b = putNested(b, 3, e.Place.append)
	}
	b = putUint(b, 4, number(executionStates, e.State))
	b = putBytes(b, 5, e.Output)
	for i := range e.Failures {
		b = putNested(b, 6, e.Failures[i].Encode)
	}
	b = putBool(b, 7, e.Permanent)
	b = putTime(b, 8, e.At)
	for _, i := range e.Items {
		b = putUint(b, 9, uint64(i)+1) // zero is not written
	}
	b = putUint(b, 10, e.Revision)
	if !e.Task.none() {
		b = putNested(b, 11, e.Task.append)
	}
	return b
}

// DecodeEvent is the reverse of [Event.Encode]. It returns [*RecordError]. The record
// shares memory with the data.
func DecodeEvent(data []byte) (e Event, err error) {
	r := reader{record: "event", data: data}
	for r.next() {
		switch r.field {
		case 1:
			e.Kind = named(&r, eventKinds)
		case 2:
			e.Path = r.string()
		case 3:
			e.Place, err = readPlace(r.nested("place"))
			r.take(err)
		case 4:
			e.State = named(&r, executionStates)
		case 5:
			e.Output = r.blob()
		case 6:
			f, err := readFailure(r.nested("failure"))
			r.take(err)
			e.Failures = append(e.Failures, f)
		case 7:
			e.Permanent = r.bool()
		case 8:
			e.At = r.time()
		case 9:
			e.Items = append(e.Items, r.index())
		case 10:
			e.Revision = r.uint()
		case 11:
			e.Task, err = readTaskResult(r.nested("task result"))
			r.take(err)
		default:
			r.unknown()
		}
	}
	return e, r.err
}
