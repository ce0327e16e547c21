/* The formulas of bench_model.h. */
#include "deploy/bench/bench_model.h"

#include <math.h>

typedef struct Bytes {
    double up, down;
} Bytes;

static Bytes bytes_of(const ModelSetting *s, double value_size) {
    const ModelStep *m = s->step;
    double n = s->dense_every, values = value_size * (m->value_bytes + m->dense_value_bytes / n);
    return (Bytes){.up = m->key_bytes + m->dense_key_bytes / n + values, .down = values};
}

ModelRate model_rate(const ModelSetting *s, double gbit_per_s, int workers, int servers) {
    const ModelStep *m = s->step;
    double rate = gbit_per_s * 1e9 / 8 / MODEL_OVERHEAD;
    Bytes rows = bytes_of(s, 1), wire = bytes_of(s, s->is_bf16 ? 0.5 : 1);
    double down_s = m->latency_s + wire.down / rate;
    double cycle_s = fmax(m->step_s, fmax(down_s, (down_s + m->step_s + wire.up / rate) / 2));
    const ModelRate bounds[] = {
        {workers * m->batch / m->step_s, "the workers' processors"},
        {workers * m->batch / cycle_s, "the workers' network"},
        {m->batch / (s->server_step_s + s->server_byte_s * (rows.up + rows.down) / servers), "the servers' processors"},
        {servers * rate * m->batch / fmax(wire.up, wire.down), "the servers' network"},
    };
    ModelRate least = bounds[0];
    double sum = 0;
    for (int i = 0; i < (int)(sizeof bounds / sizeof *bounds); i++) {
        if (bounds[i].instances_per_s < least.instances_per_s)
            least = bounds[i];
        if (i > 0) /* T is no less than c: the second bound holds the first */
            sum += pow(bounds[i].instances_per_s, -8);
    }
    return (ModelRate){pow(sum, -0.125), least.bound};
}

/* Two equations with two unknowns; noise must not make either negative. */
void model_fit_server(const ModelStep *small, const ModelStep *large, double *step_s, double *byte_s) {
    const ModelStep *steps[] = {small, large};
    double bytes[2];
    for (int i = 0; i < 2; i++) {
        Bytes b = bytes_of(&(ModelSetting){.step = steps[i], .dense_every = 1}, 1);
        bytes[i] = b.up + b.down;
    }
    *byte_s = fmax(0, (large->server_s - small->server_s) / (bytes[1] - bytes[0]));
    *step_s = small->server_s - *byte_s * bytes[0];
    if (*step_s < 0) {
        *step_s = 0;
        *byte_s = large->server_s / bytes[1];
    }
}

double model_server_s(const ModelStep *m, double step_s, double byte_s) {
    Bytes b = bytes_of(&(ModelSetting){.step = m, .dense_every = 1}, 1);
    return step_s + byte_s * (b.up + b.down);
}

int model_servers(const ModelSetting *s, double gbit_per_s, int workers, double share) {
    enum { MOST = 4096 };
    double want = share * workers * s->step->batch / s->step->step_s;
    if (model_rate(s, gbit_per_s, workers, MOST).instances_per_s < want)
        return 0;
    int low = 0, high = MOST; /* high suffices, low does not */
    while (high - low > 1) {
        int middle = (low + high) / 2;
        if (model_rate(s, gbit_per_s, workers, middle).instances_per_s < want)
            low = middle;
        else
            high = middle;
    }
    return high;
}
