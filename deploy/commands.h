/* The commands of `mangrove`: one row each, one file cmd_<name>.c each. */
#ifndef MANGROVE_DEPLOY_COMMANDS_H
#define MANGROVE_DEPLOY_COMMANDS_H

/* X(name, sentence) in the order of the help text. */
#define COMMANDS(X)                                                                                                    \
    X(prepare, "turn two ratings files into a prepared data set")                                                      \
    X(synth, "write synthetic ratings of two domains")                                                                 \
    X(train, "train on this machine: forks and supervises all roles, or --local")                                      \
    X(scheduler, "run the scheduler of a cluster")                                                                     \
    X(server, "run one parameter server of a cluster")                                                                 \
    X(worker, "run one worker of a cluster")                                                                           \
    X(evaluate, "print the metrics of a snapshot")                                                                     \
    X(bench, "measure: step, one process training as fast as it can")                                                  \
    X(config, "show the effective configuration and what a run will cost")

/* argv[0] is "mangrove <name>". Returns the exit code. */
#define X(name, sentence) int cmd_##name(int argc, char **argv);
COMMANDS(X)
#undef X

#endif
