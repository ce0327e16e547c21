/* The whole model's gradient against central differences: every value that a step pulls, for every switch.
 * link: mg_numbers_f64 */
#include "tests/gradient/gradient.h"
#include "tests/gradient/sample_step.h"

static double loss_of(Sample *s, const real *values, size_t n_values) {
    step_reset(s->step);
    step_begin(s->step, &s->batch, true);
    memcpy(step_values(s->step), values, sizeof(real) * n_values);
    step_forward(s->step);
    return step_data_loss(s->step) + step_regulariser(s->step);
}

static double difference(Sample *s, real *values, size_t n_values, size_t i, double h) {
    real before = values[i];
    double at[4];
    static const double TIMES[] = {1, -1, 2, -2};
    for (int j = 0; j < 4; j++) {
        values[i] = before + (real)(TIMES[j] * h);
        at[j] = loss_of(s, values, n_values);
    }
    values[i] = before;
    return (8 * (at[0] - at[1]) - (at[2] - at[3])) / (12 * h);
}

/* A ReLU whose kink lies within the differences spoils them, not the backward: then a hundredth of the step decides,
 * where rounding leaves 1e-10. */
static void check_model(const char *name, const Config *config, int domain, int n, const int *lengths, int N) {
    Sample s = {0};
    sample_open(&s, config);
    sample_batch(&s, domain, n, lengths, N);
    sample_begin(&s, true);
    uint32_t n_keys;
    size_t n_values, n_pushed;
    step_pull_keys(s.step, &n_keys, &n_values);
    real *values = must_alloc(sizeof(real) * n_values), *grads = must_alloc(sizeof(real) * n_values);
    memcpy(values, step_values(s.step), sizeof(real) * n_values);
    step_forward(s.step);
    step_backward(s.step);
    step_push_keys(s.step, &n_keys, &n_pushed);
    assert_true(n_pushed > n_values);
    memcpy(grads, step_grads(s.step), sizeof(real) * n_values);
    double most = 0, worst = 0;
    for (size_t i = 0; i < n_values; i++)
        most = fmax(most, fabs((double)grads[i]));
    for (size_t i = 0; i < n_values; i++) {
        double got = (double)grads[i], want = difference(&s, values, n_values, i, GRADIENT_STEP);
        double scale = fmax(fabs(got), 1e-3 * most);
        if (fabs(got - want) >= GRADIENT_TOLERANCE * scale)
            want = difference(&s, values, n_values, i, GRADIENT_STEP / 100);
        worst = fmax(worst, fabs(got - want) / scale);
        if (!(fabs(got - want) < GRADIENT_TOLERANCE * scale))
            fail_msg("%s, value %zu: the backward says %.12g, central differences %.12g", name, i, got, want);
    }
    print_message("%-32s %5zu values, relative error %.1e\n", name, n_values, worst);
    free(values);
    free(grads);
    sample_close(&s);
}

static const int MIXED[] = {3, 1, 6, 2}, ONE[] = {1}, FOUR[] = {4};

static void every_encoder_norm_and_loss(void **state) {
    (void)state;
    static const char *const NAMES[] = {"sasrec", "gru4rec"};
    for (int i = 0; i < 8; i++) {
        Config c = sample_config();
        char name[64];
        c.model.encoder = i & 1 ? ENCODER_GRU4REC : ENCODER_SASREC;
        c.model.norm = i & 2 ? NORM_NONE : NORM_BATCH;
        c.model.loss = i & 4 ? LOSS_BCE : LOSS_SOFTMAX;
        snprintf(name, sizeof name, "%s, norm %s, %s", NAMES[i & 1], i & 2 ? "none" : "batch",
                 i & 4 ? "bce" : "softmax");
        check_model(name, &c, i & 1, 4, MIXED, 3);
    }
}

static void every_part_switched_off(void **state) {
    (void)state;
    static const char *const NAMES[] = {"no isa", "no sfa", "no gpa", "backbone only"};
    for (int i = 0; i < 4; i++) {
        Config c = sample_config();
        c.model.isa = i != 0;
        c.model.sfa = i != 1;
        c.model.gpa = i != 2;
        c.model.backbone_only = i == 3;
        check_model(NAMES[i], &c, DOMAIN_B, 4, MIXED, 3);
    }
}

static void one_instance_and_one_position(void **state) {
    (void)state;
    Config c = sample_config();
    check_model("one instance", &c, DOMAIN_A, 1, FOUR, 3);
    check_model("one instance, T=1", &c, DOMAIN_A, 1, ONE, 4);
    c.model.encoder = ENCODER_GRU4REC;
    check_model("one instance, T=1, gru4rec", &c, DOMAIN_A, 1, ONE, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_encoder_norm_and_loss),
        cmocka_unit_test(every_part_switched_off),
        cmocka_unit_test(one_instance_and_one_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
