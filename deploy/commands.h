/* The commands of `mangrove`: one row each, one file cmd_<name>.c each: here what runs a training, in tools/ what works
 * on its snapshots, in bench/ what measures. */
#ifndef MANGROVE_DEPLOY_COMMANDS_H
#define MANGROVE_DEPLOY_COMMANDS_H

/* X(name, sentence, example) in the order of the help text; the example is the first line of the command's --help. */
#define COMMANDS(X)                                                                                                    \
    X(prepare, "turn two ratings files into a prepared data set",                                                      \
      "mangrove prepare ratings_Video_Games.csv.gz ratings_Toys_and_Games.csv.gz --out data/games_toys")               \
    X(synth, "write synthetic ratings of two domains", "mangrove synth data/synthetic --preset transfer --seed 7")     \
    X(train, "train on this machine: forks and supervises all roles, or --local",                                      \
      "mangrove train configs/quickstart.yaml --set train.seed=2")                                                     \
    X(scheduler, "run the scheduler of a cluster",                                                                     \
      "mangrove scheduler configs/quickstart.yaml --bind tcp://127.0.0.1:7000")                                        \
    X(server, "run one parameter server of a cluster", "mangrove server --scheduler tcp://127.0.0.1:7000")             \
    X(worker, "run one worker of a cluster",                                                                           \
      "mangrove worker --scheduler tcp://127.0.0.1:7000 --data data/quickstart")                                       \
    X(status, "show what a running scheduler knows of its run", "mangrove status runs/quickstart")                     \
    X(snapshot, "save the state of a running training, and wait until it is on disk",                                  \
      "mangrove snapshot runs/quickstart")                                                                             \
    X(stop, "end a run as ctrl-C would: snapshot, then code 75", "mangrove stop tcp://127.0.0.1:7000")                 \
    X(evaluate, "print the metrics of a snapshot",                                                                     \
      "mangrove evaluate runs/quickstart/snapshots/epoch-0003 --data data/quickstart")                                 \
    X(recommend, "print the best items for a user or a history",                                                       \
      "mangrove recommend runs/quickstart --data data/quickstart --domain A --user u17 --k 5")                         \
    X(export, "write a snapshot's tables as npy, safetensors, vec or tsv, with names",                                 \
      "mangrove export runs/quickstart --to npy --out exports/quickstart")                                             \
    X(inspect, "show what is in a snapshot: origin, tables, norms, metrics, rows", "mangrove inspect runs/quickstart") \
    X(verify, "check every byte of a snapshot, or of all of a run", "mangrove verify runs/quickstart")                 \
    X(diff, "compare the rows of two snapshots", "mangrove diff runs/quickstart/snapshots/epoch-0001 runs/quickstart") \
    X(bench, "measure a hot path beside its yardstick", "mangrove bench step configs/amazon.yaml --batch 200")         \
    X(config, "show the effective configuration and what a run will cost",                                             \
      "mangrove config configs/amazon.yaml --set train.batch=100")

/* argv[0] is "mangrove <name>". Returns the exit code. */
#define X(name, sentence, example) int cmd_##name(int argc, char **argv);
COMMANDS(X)
#undef X

#endif
