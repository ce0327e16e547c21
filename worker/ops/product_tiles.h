/* The panels of product.c for one instruction set: included once for each, hence no guard. Given are TILE(name), which
 * makes names of it, TILE_TARGET, VECTOR_BYTES and TILE_ROWS.
 *
 * A tile is TILE_ROWS rows by a panel's columns: whole vectors (`full`), half ones, and a tail of 16 bytes, whose
 * multiplication takes as long as that of 32 and which is therefore kept for two rows together. A panel's last vector
 * ends with the panel's last column, so where the width is odd it computes some columns of its neighbour once more, to
 * the same result. */
typedef real TILE(Full) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(real))));
typedef real TILE(Half) __attribute__((vector_size(VECTOR_BYTES / 2), aligned(sizeof(real))));

/* C (n_rows,width) = or += the product. Rows behind n_rows are those of the last one, computed and thrown away. */
ALWAYS_INLINE void TILE(tile)(const bool is_sum, const int rows, const int full, const int half, const int tail,
                              const Product *p, const real *A, const real *B, real *C, int width, int n_rows) {
    const ptrdiff_t lda = p->lda, ldb = p->ldb, ldc = p->ldc;
    const real *a[TILE_ROWS];
    TILE(Full) c[TILE_ROWS][3], b[3];
    TILE(Half) h[TILE_ROWS][2], bh[2];
    Pair t[TILE_ROWS / 2], bt = {0};
    EACH_ROW {
        a[r] = A + LAST_OF(r) * (is_sum ? 1 : lda);
        t[r / 2] = (Pair){0};
        EACH_FULL c[r][j] = (TILE(Full)){0};
        EACH_HALF h[r][j] = (TILE(Half)){0};
        if (!is_sum) { /* the sums' C is small */
            __builtin_prefetch(C + r * ldc, 1);
            __builtin_prefetch(C + r * ldc + width - 1, 1);
        }
    }
    for (ptrdiff_t k = 0; k < p->K; k++, B += ldb) {
        EACH_FULL b[j] = AT(const TILE(Full), B + FULL_AT(j));
        EACH_HALF bh[j] = AT(const TILE(Half), B + HALF_AT(j));
        if (tail)
            bt = TWICE(AT(const Single, B + width - SINGLE));
        real before = 0;
        EACH_ROW {
            real x = is_sum ? A[LAST_OF(r)] : a[r][k];
            EACH_FULL c[r][j] += x * b[j];
            EACH_HALF h[r][j] += x * bh[j];
            if (tail && r % 2)
                t[r / 2] += JOINED(ALL(before), ALL(x)) * bt;
            before = x;
        }
        if (is_sum)
            A += lda;
    }
    EACH_ROW {
        if (r >= n_rows)
            break;
        Single s = HALF_OF(t[r / 2], r % 2);
        if (p->adds) { /* all before the first is written: the last vector overlaps */
            EACH_FULL c[r][j] += AT(TILE(Full), C + FULL_AT(j));
            EACH_HALF h[r][j] += AT(TILE(Half), C + HALF_AT(j));
            if (tail)
                s += AT(Single, C + width - SINGLE);
        }
        EACH_FULL AT(TILE(Full), C + FULL_AT(j)) = c[r][j];
        EACH_HALF AT(TILE(Half), C + HALF_AT(j)) = h[r][j];
        if (tail)
            AT(Single, C + width - SINGLE) = s;
        C += ldc;
    }
}
