"""deploy/kubernetes before a real API server, which checks more than the published schemas say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.contract.test_kubernetes_manifests import FOLDER, PODS
from tests.tools.built import built
from tests.tools.cluster import real_cluster
from tests.tools.running import program


@pytest.mark.slow
def test_an_api_server_takes_every_object_and_every_pod(tmp_path: Path) -> None:
    """Strictly, without a warning; and the restricted security standard admits each pod."""
    built("kube-apiserver")
    kubectl = program("kubectl", "kubernetes-client")
    with real_cluster(tmp_path) as cluster:
        # Twice: the second time it finds all as it is.
        for _ in range(2):
            done = subprocess.run(
                [kubectl, f"--kubeconfig={cluster.kubeconfig()}", "apply", "--server-side",
                 "--validate=strict", f"--kustomize={FOLDER}"],
                capture_output=True, text=True, timeout=120,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert "arning" not in done.stderr, done.stderr
        for number, (name, pod) in enumerate(PODS):
            made = {
                "metadata": {"name": f"pod-{number}", "labels": {"app.kubernetes.io/name": "it"}},
                "spec": {**pod, "restartPolicy": "OnFailure" if "Job" in name else "Always"},
            }
            answer = cluster.api.post("/api/v1/namespaces/runstream/pods", json=made)
            assert answer.status_code == 201, f"{name}: {answer.text}"
        # The standard is enforced: the same pod as root is refused.
        made["metadata"]["name"] = "root"
        made["spec"]["securityContext"] = {"runAsUser": 0}
        answer = cluster.api.post("/api/v1/namespaces/runstream/pods", json=made)
        assert answer.status_code == 403, answer.text
