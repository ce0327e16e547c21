/* What a run shows to people. */
#include "server/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/log.h"

enum {
    PLAIN_LINE_MS = 10 * 1000,
    LINE = 256,
    ESTIMATE_MS = 3000, /* servers report every two seconds */
    N_DECIMALS = 4,
};

void report_init(Report *r, const Config *config) {
    *r = (Report){.config = config, .is_terminal = isatty(STDERR_FILENO)};
}

void report_duration(uint64_t seconds, char *out, size_t size) {
    uint64_t hours = seconds / 3600, minutes = seconds / 60 % 60;
    if (hours)
        snprintf(out, size, "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, hours, minutes, seconds % 60);
    else
        snprintf(out, size, "%" PRIu64 ":%02" PRIu64, minutes, seconds % 60);
}

/* ---- progress ------------------------------------------------------------------------------------------------- */

static int add_training(const Report *r, const SchedulerProgress *p, uint64_t now_ms, char *line, size_t size) {
    char left[32] = "";
    double done = p->steps_total ? (double)p->steps_done / (double)p->steps_total : 0;
    int n = snprintf(line, size, "epoch %u of at most %u  %s %3.0f %%", p->epoch, p->epochs, p->phase, 100 * done);
    if (p->loss[DOMAIN_A] > 0 || p->loss[DOMAIN_B] > 0)
        n += snprintf(line + n, size - (size_t)n, "  loss A %.4f B %.4f", p->loss[DOMAIN_A], p->loss[DOMAIN_B]);
    if (p->instances_per_s > 0)
        n += snprintf(line + n, size - (size_t)n, "  %.0f instances/s", p->instances_per_s);
    if (p->steps_done && p->steps_done < p->steps_total && now_ms - r->epoch_ms >= ESTIMATE_MS) {
        report_duration((uint64_t)((double)(now_ms - r->epoch_ms) / 1000 * (1 / done - 1) + 0.5), left, sizeof left);
        n += snprintf(line + n, size - (size_t)n, "  %s left", left);
    }
    return n;
}

void report_line(Report *r, const SchedulerProgress *p, uint64_t now_ms, char *line, size_t size) {
    if (p->epoch != r->epoch) {
        r->epoch = p->epoch;
        r->epoch_ms = now_ms;
    }
    if (p->epoch == 0)
        snprintf(line, size, "waiting for others: %u of %d servers and %u of %d workers are here", p->n_servers,
                 r->config->cluster.servers, p->n_workers, r->config->cluster.workers);
    else
        add_training(r, p, now_ms, line, size);
}

void report_progress(Report *r, const SchedulerProgress *p, uint64_t now_ms) {
    char line[LINE];
    report_line(r, p, now_ms, line, sizeof line);
    if (!r->is_terminal && r->shown_ms && now_ms - r->shown_ms < PLAIN_LINE_MS)
        return;
    r->shown_ms = now_ms;
    if (r->is_terminal)
        fprintf(stderr, "\r%s\033[K\r", line);
    else
        log_info("%s", line);
}

/* ---- tables --------------------------------------------------------------------------------------------------- */

static void clear_line(const Report *r) {
    if (r->is_terminal)
        fputs("\r\033[K", stderr);
}

void report_epoch(Report *r, const EpochResult *e) {
    clear_line(r);
    if (!r->has_header) {
        printf("%5s %6s %8s %9s", "epoch", "domain", "loss", "regular.");
        ranking_print(NULL, &r->config->eval, N_DECIMALS);
        puts("  (validation)");
        r->has_header = true;
    }
    for (int d = 0; d < N_DOMAINS; d++) {
        printf("%5u %6c %8.4f %9.1e", e->epoch, 'A' + d, e->data_loss[d], e->regulariser[d]);
        if (e->is_scored[d][SPLIT_VALID])
            ranking_print(&e->metrics[d][SPLIT_VALID], &r->config->eval, N_DECIMALS);
        puts(e->is_best[d] ? "  best" : "");
        if (e->is_scored[d][SPLIT_TEST]) {
            r->test[d] = e->metrics[d][SPLIT_TEST];
            r->test_epoch[d] = e->epoch;
        }
    }
    fflush(stdout);
}

static void print_probes(const DataInfo *data, Protocol protocol, int domain) {
    for (int i = 0; i < N_PROBES; i++) {
        const Probe *p = &data->probes[protocol][domain][SPLIT_TEST][i];
        printf("%6s %-14s %5s %8.4f %8.4f %8.4f\n", "", PROBE_NAMES[i], "", p->wauc, p->auc, p->mrr);
    }
}

void report_final(Report *r, const DataInfo *data) {
    Protocol protocol = r->config->eval.protocol;
    clear_line(r);
    if (!r->test_epoch[DOMAIN_A] && !r->test_epoch[DOMAIN_B])
        return;
    printf("\nTest split under protocol %s, each domain at its best validation epoch; below it the rules that know no "
           "user\n"
           "%6s %-14s %5s",
           protocol == PROTOCOL_WARM ? "warm" : "all", "domain", "", "epoch");
    ranking_print(NULL, &r->config->eval, N_DECIMALS);
    putchar('\n');
    for (int d = 0; d < N_DOMAINS; d++) {
        if (!r->test_epoch[d])
            continue;
        printf("%6c %-14s %5u", 'A' + d, r->config->model.name, r->test_epoch[d]);
        ranking_print(&r->test[d], &r->config->eval, N_DECIMALS);
        printf("  (%" PRIu64 " positives)\n", r->test[d].n);
        print_probes(data, protocol, d);
    }
    fflush(stdout);
}
