#!/bin/bash
# Who may include what: the protocol does no I/O, verbs stay in the verbs fabric, the roles do not know each other.
# shellcheck source=tests/style/common
. "$(dirname "$0")/common"

status=0
# no ERE FOLDER...: no #include in there matches.
no() {
	local pattern='^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]('$1')' files folder

	shift
	for folder; do
		mapfile -t files < <(sources '*.c' '*.h' | grep "^./$folder" || true)
		must_not_match "$pattern" "${files[@]}" || status=1
	done
}

no '(sys|netinet|arpa|infiniband|rdma)/|unistd|fcntl|pthread|poll\.h|netdb|time\.h' brp/
no '(common|target|initiator|bench)/' brp/
no '(target|initiator|bench)/' common/
no '(target|bench)/' initiator/
# Front ends and the program use libbrp as everybody does; front ends do not know the program.
no '(initiator/internal|common/fabric/|brp/(codec|fsm))' initiator/dev/ initiator/ctl/ initiator/nbdkit/
no 'initiator/ctl/' initiator/dev/
no '(initiator|bench)/|brp/brp.h' target/
no '(target|initiator|common/fabric)/' bench/
# Wire layout is the codec's alone.
no 'brp/wire\.h|wire\.h' common/ target/ initiator/ bench/
mapfile -t files < <(sources '*.c' '*.h' | grep -vE '^./(common/fabric/verbs|tests/|bench/raw-)')
must_not_match '#[[:space:]]*include[[:space:]]*<(infiniband|rdma)/' "${files[@]}" || status=1
exit $status
