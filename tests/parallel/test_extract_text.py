"""Token numbers and vocabularies are the same on 1, 2, 3 and 4 ranks, bit for bit, in any memory."""

EXTRACT = """
    import hashlib, json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.features.text import extract
    from hvdedge.parallel import MeteredComm, allgather_bytes, block
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    for count in (2000, 3):
        rng = np.random.default_rng(5)
        syllables = [a + b for a in "bdfgklm" for b in "aeiou"]
        words = ["".join(rng.choice(syllables, rng.integers(1, 5))) for _ in range(3000)]
        texts = [" ".join(rng.choice(words, rng.integers(0, 12))) for _ in range(count)]
        rows = pa.table({
            "text": pa.array(texts, mask=rng.random(count) < 0.05),
            "label": (["a", "b"] * count)[:count],
            "_split": pa.array(np.arange(count) % 3 // 2, pa.uint8()),
        })
        part = block(count, comm.size, comm.rank)
        mine = rows.slice(part.start, part.stop - part.start).combine_chunks()
        for memory in (64_000_000, 100_000):
            for tokens in ("words", "subwords", "characters"):
                table = Table.from_batches(rows.schema, mine.to_batches(97), Workspace(folder, folder, memory))
                features = extract(table, comm, tokens=tokens, vocabulary=300, least=1)
                x = np.concatenate([np.empty((0, *features.spec["input_shape"]), np.int32),
                                    *(x for _, x, _ in features.batches())])
                every = hashlib.sha256(b"".join(allgather_bytes(x.tobytes(), comm))).hexdigest()
                if comm.rank == 0:
                    print(json.dumps([every, features.spec, features.decisions], sort_keys=True))
"""


def test_token_numbers_are_the_same_on_any_number_of_ranks_and_in_any_memory(mpirun, tmp_path):
    found = [mpirun(ranks, EXTRACT, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    assert len(found[0]) == 12
    assert found[0][0:3] == found[0][3:6]
    assert found[0][6:9] == found[0][9:12]
    assert '"subwords: 300 in the vocabulary' in found[0][1]
