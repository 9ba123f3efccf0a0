"""Let a build that counts what it does (JOBGATE_PROFILE=make) do a gate's work: the compiler learns from it what is usual."""

from gates import Gate, Shape
from meter import Load
from stage import Stage
from work import body_of

# (the gate, connections, seconds, bytes of the body): forwarded at once and one by one, by TLS, refused, of several pieces.
WORK = ((Shape(), 64, 4, 300), (Shape(), 1, 1, 300), (Shape(tls=True), 64, 2, 300), (Shape(quota=500, wait="10ms"), 64, 2, 300),
        (Shape(), 64, 1, 16384))


def main():
    with Stage("jobgate-profile-") as stage:
        for shape, connections, seconds, body in WORK:
            gate = stage.add(Gate, shape)
            gate.settle()
            said = Load(stage.folder, body_of(body), shape.tls).wrk(gate.port, connections, seconds)
            print(f"{shape}: {said['requests']} requests, {said['not_2xx']} refused")
            stage.drop(gate)    # what was counted is written at its end


if __name__ == "__main__":
    main()
